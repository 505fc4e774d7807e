//! Consumers on an endpoint whose attempts are transactions.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bus_core::consume::{FailureHandler, UnitOfWork};
use bus_core::error::FailureKind;
use bus_core::{ConsumeContext, ConsumeError, ConsumeResult, Consumer, Message};

use crate::backend::Backend;
use crate::error::{SqlErrorKind, kind_of};
use crate::sql::Sql;
use crate::tx::Slot;
use crate::tx_consumer::TxConsumer;
use crate::work::SqlUnit;

impl<DB: Backend> Sql<DB> {
    /// Makes a consumer of an endpoint out of one that works in a transaction.
    ///
    /// ```no_run
    /// # #[cfg(feature = "sqlite")]
    /// # mod example {
    /// use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message};
    /// use bus_sql::{Sql, Tx, sqlx};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize, Message)]
    /// # #[message("Invoicing:PaymentReceived")]
    /// # struct PaymentReceived { number: String }
    ///
    /// async fn paid(ctx: ConsumeContext<PaymentReceived>, tx: &mut Tx<sqlx::Sqlite>) -> ConsumeResult {
    ///     sqlx::query("UPDATE invoice SET paid = true WHERE number = $1")
    ///         .bind(&ctx.message().number)
    ///         .execute(tx.conn())
    ///         .await?;
    ///     Ok(())
    /// }
    ///
    /// fn endpoint(sql: &Sql<sqlx::Sqlite>) -> Endpoint {
    ///     Endpoint::new("invoice-service").consumer(sql.consumer(paid))
    /// }
    /// # }
    /// ```
    pub fn consumer<M: Message, C: TxConsumer<M, DB>>(&self, consumer: C) -> Transactional<DB, C> {
        Transactional {
            consumer,
            unit: Arc::new(SqlUnit::new(self.clone())),
        }
    }

    /// Gives a consumer without SQL of its own the inbox, and what it sends the outbox.
    pub fn around<M: Message, C: Consumer<M>>(&self, consumer: C) -> Around<DB, C> {
        Around {
            consumer,
            unit: Arc::new(SqlUnit::new(self.clone())),
        }
    }
}

/// Consumer of an endpoint that works in a transaction; made by [`Sql::consumer`].
pub struct Transactional<DB: Backend, C> {
    consumer: C,
    unit: Arc<SqlUnit<DB>>,
}

impl<M, DB, C> Consumer<M> for Transactional<DB, C>
where
    M: Message,
    DB: Backend,
    C: TxConsumer<M, DB>,
{
    async fn consume(&self, ctx: ConsumeContext<M>) -> ConsumeResult {
        let slot = ctx.extension::<Slot<DB>>().cloned();
        let slot = slot.ok_or_else(|| {
            ConsumeError::permanent("the consumer runs outside of its transaction")
        })?;
        let mut tx = slot.transaction().lock().await;
        let tx = tx
            .as_mut()
            .ok_or_else(|| ConsumeError::permanent("the transaction has ended"))?;
        self.consumer.consume(ctx, tx).await.map_err(judged)
    }

    fn unit_of_work(&self) -> Option<Arc<dyn UnitOfWork>> {
        Some(Arc::clone(&self.unit) as Arc<dyn UnitOfWork>)
    }
}

/// Consumer of an endpoint with an inbox and an outbox; made by [`Sql::around`].
pub struct Around<DB: Backend, C> {
    consumer: C,
    unit: Arc<SqlUnit<DB>>,
}

impl<M: Message, DB: Backend, C: Consumer<M>> Consumer<M> for Around<DB, C> {
    fn consume(&self, ctx: ConsumeContext<M>) -> impl Future<Output = ConsumeResult> + Send {
        self.consumer.consume(ctx)
    }

    fn unit_of_work(&self) -> Option<Arc<dyn UnitOfWork>> {
        Some(Arc::clone(&self.unit) as Arc<dyn UnitOfWork>)
    }

    fn failure_handler(&self) -> Option<Arc<dyn FailureHandler<M>>> {
        self.consumer.failure_handler()
    }
}

/// An error of a consumer whose cause may be the database, and not the message.
pub(crate) fn judged(error: ConsumeError) -> ConsumeError {
    if error.kind() != FailureKind::Failed {
        return error;
    }
    match error.find::<sqlx::Error>().map(kind_of) {
        Some(SqlErrorKind::Conflict) => ConsumeError::conflict(Judged(error)),
        Some(SqlErrorKind::Unavailable) => ConsumeError::unavailable(Judged(error)),
        _ => error,
    }
}

/// An error of a consumer, with all its causes.
#[derive(Debug)]
struct Judged(ConsumeError);

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Judged {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.cause().source()
    }
}

impl<DB: Backend, C> fmt::Debug for Transactional<DB, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transactional")
            .field("unit", &self.unit)
            .finish_non_exhaustive()
    }
}

impl<DB: Backend, C> fmt::Debug for Around<DB, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Around")
            .field("unit", &self.unit)
            .finish_non_exhaustive()
    }
}
