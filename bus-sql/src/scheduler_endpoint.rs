//! A scheduler for the services of a MassTransit system.

use bus_core::error::SendErrorKind;
use bus_core::send::{CancelScheduledMessage, ScheduleMessage};
use bus_core::{ConsumeContext, ConsumeError, ConsumeResult, Endpoint};

use crate::backend::Backend;
use crate::sql::Sql;
use crate::tx::Tx;
use crate::tx_consumer::TxConsumer;

impl<DB: Backend> Sql<DB> {
    /// Returns an endpoint that keeps messages for other services until they are due.
    ///
    /// It consumes MassTransit's `ScheduleMessage` and `CancelScheduledMessage`, so that it stands
    /// in for Quartz.NET or Hangfire: .NET services name its queue with
    /// `UseMessageScheduler(new Uri("queue:quartz"))`, those of this crate with a
    /// [`MassTransitScheduler`](bus_core::send::MassTransitScheduler). The
    /// [`relay`](Self::relay) of the same bus sends what is due. A second command with the token of
    /// a message that waits replaces it.
    ///
    /// A destination that cannot be read, or that
    /// [`reply_addresses`](bus_core::BusBuilder::reply_addresses) does not allow, is final: the
    /// command goes to the error queue.
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")]
    /// # async fn run(transport: impl bus_core::transport::Transport, sql: bus_sql::Sql<bus_sql::sqlx::Postgres>) -> Result<(), bus_core::StartError> {
    /// let bus = bus_core::Bus::builder(transport)
    ///     .background(sql.relay())
    ///     .endpoint(sql.scheduler_endpoint("quartz").concurrency(4))
    ///     .start()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn scheduler_endpoint(&self, queue: impl Into<String>) -> Endpoint {
        Endpoint::new(queue)
            .without_subscriptions()
            .consumer(self.consumer::<ScheduleMessage, _>(Keep))
            .consumer(self.consumer::<CancelScheduledMessage, _>(Cancel))
    }
}

struct Keep;

impl<DB: Backend> TxConsumer<ScheduleMessage, DB> for Keep {
    async fn consume(
        &self,
        ctx: ConsumeContext<ScheduleMessage>,
        tx: &mut Tx<DB>,
    ) -> ConsumeResult {
        let message = ctx
            .scheduled_message()
            .map_err(|error| match error.kind() {
                SendErrorKind::NoRoute | SendErrorKind::Refused => ConsumeError::permanent(error),
                _ => error.into(),
            })?;
        if let Some(token) = message.outgoing.schedule_token {
            tx.cancel(token).await?;
        }
        ctx.dispatch().dispatch(message).await?;
        Ok(())
    }
}

struct Cancel;

impl<DB: Backend> TxConsumer<CancelScheduledMessage, DB> for Cancel {
    async fn consume(
        &self,
        ctx: ConsumeContext<CancelScheduledMessage>,
        tx: &mut Tx<DB>,
    ) -> ConsumeResult {
        let token = ctx.message().token_id;
        if !tx.cancel(token.into()).await? {
            tracing::info!(%token, "nothing waits with the token that is to be cancelled");
        }
        Ok(())
    }
}
