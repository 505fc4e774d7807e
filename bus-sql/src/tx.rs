//! The transaction of one delivery.

use std::fmt;
use std::sync::Arc;

use bus_core::transport::ScheduleToken;
use sqlx::{Connection, Database, Transaction};
use tokio::sync::Mutex;

use crate::backend::Backend;
use crate::error::SqlError;
use crate::sql::Sql;

/// Transaction of one attempt at a delivery, in the database `DB`.
///
/// Second argument of a [`TxConsumer`](crate::TxConsumer). It has neither a commit nor a rollback:
/// the result of the consumer decides.
pub struct Tx<DB: Backend> {
    inner: Transaction<'static, DB>,
    sql: Sql<DB>,
    /// The row of a saga that was loaded in it.
    #[cfg(feature = "saga")]
    pub(crate) loaded: Option<crate::store::SagaRow>,
}

impl<DB: Backend> Tx<DB> {
    pub(crate) fn new(inner: Transaction<'static, DB>, sql: Sql<DB>) -> Self {
        Self {
            inner,
            sql,
            #[cfg(feature = "saga")]
            loaded: None,
        }
    }

    /// Returns the connection, for statements of the consumer.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # mod example {
    /// use bus_sql::{Tx, sqlx};
    ///
    /// async fn count(tx: &mut Tx<sqlx::Sqlite>) -> Result<i64, sqlx::Error> {
    ///     sqlx::query_scalar("SELECT count(*) FROM invoice").fetch_one(tx.conn()).await
    /// }
    /// # }
    /// ```
    pub fn conn(&mut self) -> &mut <DB as Database>::Connection {
        &mut self.inner
    }

    /// Begins a transaction in this one, which can be rolled back alone.
    ///
    /// # Errors
    /// That of the database.
    pub async fn savepoint(&mut self) -> Result<Transaction<'_, DB>, sqlx::Error> {
        self.inner.begin().await
    }

    /// Cancels the messages that were scheduled with a token, if they are not due yet.
    ///
    /// Returns `true` if there were any. It counts if the consumer succeeds.
    ///
    /// # Errors
    /// That of the database.
    pub async fn cancel(&mut self, token: ScheduleToken) -> Result<bool, SqlError> {
        let cancelled = DB::cancel(&mut self.inner, self.sql.names(), token.into()).await?;
        Ok(cancelled > 0)
    }

    #[cfg(feature = "saga")]
    pub(crate) fn sql(&self) -> &Sql<DB> {
        &self.sql
    }

    pub(crate) fn into_inner(self) -> Transaction<'static, DB> {
        self.inner
    }
}

impl<DB: Backend> fmt::Debug for Tx<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx")
            .field("database", &DB::NAME)
            .finish_non_exhaustive()
    }
}

/// The transaction between its unit of work and the consumer; empty in the end.
pub(crate) struct Slot<DB: Backend>(Arc<Mutex<Option<Tx<DB>>>>);

impl<DB: Backend> Slot<DB> {
    pub(crate) fn new(tx: Tx<DB>) -> Self {
        Self(Arc::new(Mutex::new(Some(tx))))
    }

    pub(crate) fn transaction(&self) -> &Mutex<Option<Tx<DB>>> {
        &self.0
    }
}

impl<DB: Backend> Clone for Slot<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
