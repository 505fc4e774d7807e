//! The audit: overhears every command that reaches the invoice service, whatever its type.

use std::future::Future;

use bus_core::{ConsumeContext, ConsumeError, ConsumeResult, Consumer, Endpoint, RawMessage};
use bus_sql::Backend;
use bus_sql::sqlx::{Pool, Result, query, query_scalar};
use uuid::Uuid;

use crate::contracts::INVOICE_SERVICE;
use crate::database::{consume_error, on_either};

/// The queue of the copies.
pub const QUEUE: &str = "audit";

/// Creates the table.
pub const TABLE: &str = "CREATE TABLE IF NOT EXISTS overheard (message_id UUID PRIMARY KEY)";

/// The table of messages that were overheard, by a connection to its database.
pub trait Journal {
    /// Notes a message. It is a key, so that neither a second copy nor a second attempt counts
    /// twice.
    fn note(&mut self, message_id: Uuid) -> impl Future<Output = Result<()>> + Send;

    /// Counts the messages that were overheard.
    fn overheard(&mut self) -> impl Future<Output = Result<usize>> + Send;
}

on_either! { impl Journal for Connection {
    async fn note(&mut self, message_id: Uuid) -> Result<()> {
        query("INSERT INTO overheard (message_id) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(message_id)
            .execute(self)
            .await?;
        Ok(())
    }

    async fn overheard(&mut self) -> Result<usize> {
        let count: i64 = query_scalar("SELECT count(*) FROM overheard").fetch_one(self).await?;
        Ok(usize::try_from(count).unwrap_or_default())
    }
} }

/// A wire tap on the invoice service: it gets a copy of everything, also of what comes twice, and
/// the service does not notice.
pub fn endpoint<DB: Backend<Connection: Journal>>(pool: Pool<DB>) -> Endpoint {
    Endpoint::new(QUEUE)
        .tap(INVOICE_SERVICE)
        .retry(crate::retry())
        .consume_any(Audit { pool })
}

/// One statement that may be repeated, and nothing to send: that needs neither inbox nor outbox.
struct Audit<DB: Backend> {
    pool: Pool<DB>,
}

impl<DB: Backend<Connection: Journal>> Consumer<RawMessage> for Audit<DB> {
    async fn consume(&self, ctx: ConsumeContext<RawMessage>) -> ConsumeResult {
        let id = ctx
            .message_id()
            .ok_or_else(|| ConsumeError::permanent("a message without an id cannot be audited"))?;
        let mut journal = self.pool.acquire().await.map_err(consume_error)?;
        journal.note(id).await.map_err(consume_error)?;
        let bytes = ctx.message().bytes().len();
        tracing::debug!(%id, types = ?ctx.envelope().message_types, bytes, "overheard");
        Ok(())
    }
}
