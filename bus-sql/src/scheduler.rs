//! The scheduler of a bus: messages wait in a table until they are due.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bus_core::SendError;
use bus_core::error::SendErrorKind;
use bus_core::send::{Dispatch, Scheduler, SealedMessage};
use bus_core::transport::ScheduleToken;
use tokio::time::timeout;

use crate::backend::Backend;
use crate::detached::to_the_end;
use crate::error::{SqlError, SqlErrorKind};
use crate::outgoing::Rows;
use crate::sql::Sql;

impl<DB: Backend> Sql<DB> {
    /// Returns a scheduler, which keeps messages in a table until they are due.
    ///
    /// For what is sent outside of transactions: those of [`consumer`](Self::consumer) and
    /// [`begin`](Self::begin) keep their messages by themselves. The [`relay`](Self::relay) sends
    /// them, here or in another process of the service. They can be
    /// [cancelled](bus_core::Bus::cancel) on every transport, and are delayed by the clock of the
    /// database.
    ///
    /// ```
    /// # #[cfg(not(feature = "sqlite"))] fn main() {}
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use bus_core::transport::ScheduleToken;
    /// use bus_core::{Bus, Message};
    /// # use bus_inmemory::InMemory;
    /// # use bus_sql::{Sql, sqlx::sqlite::SqlitePoolOptions};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize, Message)]
    /// # #[message("Invoicing:RemindCustomer")]
    /// # struct RemindCustomer { number: String }
    /// # let options = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    /// # let sql = Sql::sqlite(options.connect("sqlite::memory:").await?);
    ///
    /// let bus = Bus::builder(InMemory::new())
    ///     .background(sql.relay())
    ///     .scheduler(sql.scheduler())
    ///     .start()
    ///     .await?;
    /// let token = ScheduleToken::new();
    /// let week = Duration::from_secs(7 * 24 * 3600);
    /// let reminder = RemindCustomer { number: "A-7".into() };
    /// bus.publish(&reminder).deliver_in(week).schedule_token(token).await?; // a row
    /// assert!(bus.cancel(token).await?);
    /// assert!(!bus.cancel(token).await?, "it is gone");
    /// # bus.shutdown().await?;
    /// # Ok(()) }
    /// ```
    pub fn scheduler(&self) -> SqlScheduler<DB> {
        SqlScheduler { sql: self.clone() }
    }

    /// Keeps messages in a transaction of their own.
    async fn keep(self, message: SealedMessage) -> Result<(), Failure> {
        let partitions = self.ready().await.map_err(Failure::Before)?;
        let rows = Rows::of(&[message], partitions);
        let mut tx = self.begin_transaction().await.map_err(Failure::Before)?;
        match rows.write(&self, &mut tx, None).await {
            Ok(()) => rows.commit(&self, tx).await.map_err(Failure::Commit),
            Err(error) => {
                DB::abandon(tx).await;
                Err(Failure::Before(error))
            }
        }
    }
}

/// Scheduler that keeps messages in a table; made by [`Sql::scheduler`].
pub struct SqlScheduler<DB: Backend> {
    sql: Sql<DB>,
}

/// Failure of the database, by what it left behind.
enum Failure {
    /// Nothing was kept.
    Before(SqlError),
    /// The answer to the commit is an error or was lost: the message may be kept.
    Commit(SqlError),
}

#[async_trait]
impl<DB: Backend> Scheduler for SqlScheduler<DB> {
    async fn schedule(
        &self,
        message: SealedMessage,
        _: Arc<dyn Dispatch>,
    ) -> Result<(), SendError> {
        let (sql, deadline) = (self.sql.clone(), message.deadline);
        // To its end, as a dropped commit would leave its outcome open.
        let kept = to_the_end(async move { Ok::<_, SqlError>(sql.keep(message).await) });
        match timeout(deadline, kept).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(Failure::Before(error)))) => Err(not_kept(error)),
            Ok(Ok(Err(Failure::Commit(error))) | Err(error)) => Err(may_be_kept(error)),
            Err(_) => Err(SendError::new(
                SendErrorKind::TimedOut,
                format!(
                    "the database did not answer within {deadline:?}: the message may be scheduled"
                ),
            )),
        }
    }

    async fn cancel(&self, token: ScheduleToken, _: Arc<dyn Dispatch>) -> Result<bool, SendError> {
        self.sql.cancel(token).await.map_err(not_kept)
    }
}

pub(crate) fn not_kept(error: SqlError) -> SendError {
    let kind = match error.kind() {
        SqlErrorKind::Unavailable
        | SqlErrorKind::Conflict
        | SqlErrorKind::Configuration
        | SqlErrorKind::Schema => SendErrorKind::Unreachable,
        _ => SendErrorKind::Refused,
    };
    let text = format!("the scheduler's database failed: {error}");
    SendError::new(kind, text).with_source(error)
}

fn may_be_kept(error: SqlError) -> SendError {
    let text = format!("the message may be scheduled, as its commit failed: {error}");
    SendError::new(SendErrorKind::TimedOut, text).with_source(error)
}

impl<DB: Backend> Clone for SqlScheduler<DB> {
    fn clone(&self) -> Self {
        self.sql.scheduler()
    }
}

impl<DB: Backend> fmt::Debug for SqlScheduler<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlScheduler")
            .field("sql", &self.sql)
            .finish()
    }
}
