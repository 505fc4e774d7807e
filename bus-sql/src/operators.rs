//! Calls for those who operate a service.

use bus_core::transport::ScheduleToken;

use crate::backend::Backend;
use crate::error::SqlError;
use crate::sql::Sql;
use crate::views::{Backlog, Parked};

impl<DB: Backend> Sql<DB> {
    /// Returns the size of the outbox.
    ///
    /// Counts rows: at a million of them, PostgreSQL takes about a tenth of a second.
    ///
    /// # Errors
    /// That of the database.
    pub async fn backlog(&self) -> Result<Backlog, SqlError> {
        self.ready().await?;
        Ok(DB::backlog(self.pool(), self.names()).await?)
    }

    /// Returns the first messages that were set aside, at most `limit`.
    ///
    /// # Errors
    /// That of the database.
    pub async fn parked(&self, limit: u32) -> Result<Vec<Parked>, SqlError> {
        self.ready().await?;
        Ok(DB::parked(self.pool(), self.names(), limit.into()).await?)
    }

    /// Sends messages again that were set aside, by their ids; returns how many.
    ///
    /// # Errors
    /// That of the database.
    pub async fn unpark(&self, ids: &[i64]) -> Result<u64, SqlError> {
        self.ready().await?;
        let moved = DB::unpark(self.pool(), self.names(), ids).await?;
        self.wake();
        Ok(moved)
    }

    /// Deletes messages that were set aside, by their ids; returns how many.
    ///
    /// # Errors
    /// That of the database.
    pub async fn discard(&self, ids: &[i64]) -> Result<u64, SqlError> {
        self.ready().await?;
        Ok(DB::discard(self.pool(), self.names(), ids).await?)
    }

    /// Cancels the messages that were scheduled with a token, if they are not due yet.
    ///
    /// Returns `true` if there were any.
    ///
    /// # Errors
    /// That of the database.
    pub async fn cancel(&self, token: ScheduleToken) -> Result<bool, SqlError> {
        self.ready().await?;
        let mut conn = self.pool().acquire().await?;
        Ok(DB::cancel(&mut conn, self.names(), token.into()).await? > 0)
    }
}
