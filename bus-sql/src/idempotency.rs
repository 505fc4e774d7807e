//! Idempotency keys in SQL, for consumers whose effect is elsewhere.

use std::time::Duration;

use async_trait::async_trait;
use bus_core::idempotency::{Begin, IdempotencyStore, StoreError, StoredReply, Token};
use uuid::Uuid;

use crate::backend::Backend;
use crate::bounded;
use crate::error::SqlError;
use crate::replies;
use crate::sql::Sql;

impl<DB: Backend> Sql<DB> {
    /// Makes an idempotency store, for consumers whose effect is not in this database.
    ///
    /// The clock is that of the database. Keys whose time is over are deleted by the
    /// [relay](Self::relay), or by [`prune`](Self::prune): a service without a relay calls that
    /// from time to time.
    ///
    /// A consumer in a [transaction](Self::consumer) has the
    /// inbox and needs no store.
    ///
    /// ```no_run
    /// # #[cfg(feature = "sqlite")]
    /// # mod example {
    /// use bus_core::{Endpoint, Idempotency};
    /// use bus_sql::{Sql, sqlx};
    ///
    /// fn endpoint(sql: &Sql<sqlx::Sqlite>) -> Endpoint {
    ///     Endpoint::new("mailer").idempotency(Idempotency::new(sql.idempotency()))
    /// }
    /// # }
    /// ```
    pub fn idempotency(&self) -> SqlIdempotencyStore<DB> {
        SqlIdempotencyStore { sql: self.clone() }
    }
}

/// Idempotency keys in a table; made by [`Sql::idempotency`].
///
/// A crash between the effect of a consumer and the end of its claim repeats the effect.
#[derive(Debug)]
pub struct SqlIdempotencyStore<DB: Backend> {
    sql: Sql<DB>,
}

impl<DB: Backend> SqlIdempotencyStore<DB> {
    async fn claim(
        &self,
        key: &str,
        fingerprint: Uuid,
        lease: Duration,
    ) -> Result<Begin, SqlError> {
        self.sql.ready().await?;
        let (pool, names) = (self.sql.pool(), self.sql.names());
        let token = Token::new(key);
        let bounded = bounded::key(key);
        loop {
            if DB::take_key(pool, names, &bounded, fingerprint, token.claim, lease).await? {
                return Ok(Begin::Fresh(token));
            }
            // Without one, its time has ended between the two statements.
            let Some(found) = DB::look_up(pool, names, &bounded).await? else {
                continue;
            };
            return Ok(if found.fingerprint != fingerprint {
                Begin::Mismatch
            } else if found.is_done {
                let stored = found.replies.map(|stored| replies::read(&stored));
                Begin::Done(
                    stored
                        .transpose()
                        .map_err(SqlError::unreadable)?
                        .unwrap_or_default(),
                )
            } else {
                Begin::InProgress
            });
        }
    }
}

#[async_trait]
impl<DB: Backend> IdempotencyStore for SqlIdempotencyStore<DB> {
    async fn begin(
        &self,
        key: &str,
        fingerprint: Uuid,
        lease: Duration,
    ) -> Result<Begin, StoreError> {
        self.claim(key, fingerprint, lease)
            .await
            .map_err(StoreError::new)
    }

    async fn extend(&self, token: &Token, lease: Duration) -> Result<bool, StoreError> {
        let (pool, names) = (self.sql.pool(), self.sql.names());
        let key = bounded::key(&token.key);
        let extended = DB::extend(pool, names, &key, token.claim, lease);
        extended.await.map_err(StoreError::new)
    }

    async fn complete(
        &self,
        token: &Token,
        replies: Vec<StoredReply>,
        keep: Duration,
    ) -> Result<bool, StoreError> {
        let (pool, names) = (self.sql.pool(), self.sql.names());
        let stored = (!replies.is_empty()).then(|| replies::write(&replies));
        let key = bounded::key(&token.key);
        let completed = DB::complete(pool, names, &key, token.claim, stored, keep);
        completed.await.map_err(StoreError::new)
    }

    async fn release(&self, token: &Token) -> Result<(), StoreError> {
        let (pool, names) = (self.sql.pool(), self.sql.names());
        let key = bounded::key(&token.key);
        let given_up = DB::give_up(pool, names, &key, token.claim);
        given_up.await.map_err(StoreError::new)
    }
}
