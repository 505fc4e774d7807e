//! The unit of work of a consumer: one transaction for each attempt.

use std::sync::Arc;

use async_trait::async_trait;
use bus_core::consume::{Begun, UnitOfWork, Work};
use bus_core::error::BoxError;
use bus_core::idempotency::StoredReply;
use bus_core::message::Intent;
use bus_core::send::SealedMessage;
use bus_core::{ConsumeContext, ConsumeError};
use sqlx::Transaction;
use uuid::Uuid;

use crate::backend::Backend;
use crate::error::{SqlError, SqlErrorKind};
use crate::held::Scheduling;
use crate::inbox;
use crate::outgoing::Rows;
use crate::pool;
use crate::replies;
use crate::sql::Sql;
use crate::store::{Claim, InboxKey};
use crate::tx::{Slot, Tx};

/// Transactions on the tables of a service, one for each attempt of a consumer.
#[derive(Debug)]
pub(crate) struct SqlUnit<DB: Backend> {
    sql: Sql<DB>,
}

impl<DB: Backend> SqlUnit<DB> {
    pub(crate) fn new(sql: Sql<DB>) -> Self {
        Self { sql }
    }

    async fn start(&self, ctx: &ConsumeContext) -> Result<Started<DB>, SqlError> {
        let partitions = self.sql.ready().await?;
        let key = inbox::key(self.sql.settings(), ctx);
        let mut tx = self.sql.begin_transaction().await?;
        let mark = match DB::claim(&mut tx, self.sql.names(), key.as_ref()).await? {
            Claim::Fresh { mark } => mark,
            Claim::Handled {
                fingerprint,
                replies,
            } => {
                tx.rollback().await?;
                let is_same = key.is_some_and(|key| key.fingerprint == fingerprint);
                return Ok(if is_same {
                    Started::Duplicate(replies)
                } else {
                    Started::Mismatch
                });
            }
            Claim::InProgress => {
                tx.rollback().await?;
                return Ok(Started::InProgress);
            }
        };
        Ok(Started::Fresh(Attempt {
            slot: Slot::new(Tx::new(tx, self.sql.clone())),
            sql: self.sql.clone(),
            partitions,
            key,
            mark,
            answers: ctx.envelope().response_address.is_some(),
            request_id: ctx.envelope().request_id,
        }))
    }
}

enum Started<DB: Backend> {
    Fresh(Attempt<DB>),
    Duplicate(Option<Vec<u8>>),
    Mismatch,
    InProgress,
}

#[async_trait]
impl<DB: Backend> UnitOfWork for SqlUnit<DB> {
    async fn prepare(&self, endpoint: &str, concurrency: usize) -> Result<(), BoxError> {
        self.sql.ready().await?;
        Ok(pool::check_endpoint(&self.sql, endpoint, concurrency).await?)
    }

    async fn begin(&self, ctx: &ConsumeContext) -> Result<Begun, ConsumeError> {
        match self.start(ctx).await.map_err(consume_error)? {
            Started::Fresh(attempt) => Ok(Begun::work(attempt)),
            Started::Duplicate(stored) => {
                let replies = stored.map(|stored| replies::read(&stored)).transpose();
                Ok(Begun::Duplicate(
                    replies
                        .map_err(ConsumeError::permanent)?
                        .unwrap_or_default(),
                ))
            }
            Started::InProgress => Ok(Begun::InProgress),
            Started::Mismatch => Err(ConsumeError::permanent(
                "the inbox knows the key of this message from one with other content",
            )),
        }
    }
}

/// One attempt, and its transaction.
struct Attempt<DB: Backend> {
    slot: Slot<DB>,
    sql: Sql<DB>,
    partitions: u16,
    key: Option<InboxKey>,
    mark: Option<i64>,
    /// `true` if replies go to an address of the message, and are not published.
    answers: bool,
    /// Id of the request, if the message is one; replies to earlier ones have another.
    request_id: Option<Uuid>,
}

impl<DB: Backend> Attempt<DB> {
    /// Writes what was sent, and commits; returns the replies, which leave at once.
    async fn finish(self, sent: Vec<SealedMessage>) -> Result<Vec<SealedMessage>, SqlError> {
        let tx = self.slot.transaction().lock().await.take();
        let mut tx = tx.ok_or_else(SqlError::ended)?.into_inner();
        match self.write(&mut tx, sent).await {
            Ok((rows, replies)) => {
                rows.commit(&self.sql, tx).await?;
                Ok(replies)
            }
            Err(error) => {
                DB::abandon(tx).await;
                Err(error)
            }
        }
    }

    /// Writes what was sent; returns the rows, and the replies.
    async fn write(
        &self,
        tx: &mut Transaction<'static, DB>,
        sent: Vec<SealedMessage>,
    ) -> Result<(Rows, Vec<SealedMessage>), SqlError> {
        let is_reply = |sealed: &SealedMessage| {
            self.answers
                && sealed.intent == Intent::Respond
                && sealed.envelope.request_id == self.request_id
                && sealed.due.is_none()
        };
        let (replies, leaving): (Vec<_>, Vec<_>) = sent.into_iter().partition(is_reply);
        let rows = Rows::of(&leaving, self.partitions);
        rows.write(&self.sql, tx, self.mark).await?;
        if let Some(key) = self.key.as_ref().filter(|_| !replies.is_empty()) {
            let stored: Vec<_> = replies.iter().map(StoredReply::of).collect();
            let stored = replies::write(&stored);
            DB::keep_replies(tx, self.sql.names(), key, &stored).await?;
        }
        Ok((rows, replies))
    }
}

#[async_trait]
impl<DB: Backend> Work for Attempt<DB> {
    fn enter(&self, ctx: ConsumeContext) -> ConsumeContext {
        let dispatch = Arc::new(Scheduling(ctx.dispatch()));
        ctx.with_extension(self.slot.clone())
            .with_dispatch(dispatch)
    }

    async fn commit(
        self: Box<Self>,
        sent: Vec<SealedMessage>,
    ) -> Result<Vec<SealedMessage>, ConsumeError> {
        self.finish(sent).await.map_err(consume_error)
    }

    async fn roll_back(self: Box<Self>) {
        if let Some(tx) = self.slot.transaction().lock().await.take() {
            DB::abandon(tx.into_inner()).await;
        }
    }
}

/// An error as the endpoint judges it.
pub(crate) fn consume_error(error: SqlError) -> ConsumeError {
    match error.kind() {
        // The fault is not the message's: it waits until the tables are as they must be.
        SqlErrorKind::Unavailable | SqlErrorKind::Configuration | SqlErrorKind::Schema => {
            ConsumeError::unavailable(error)
        }
        SqlErrorKind::Conflict => ConsumeError::conflict(error),
        SqlErrorKind::Ended => ConsumeError::permanent(error),
        _ => error.into(),
    }
}
