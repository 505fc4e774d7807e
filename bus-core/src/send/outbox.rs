//! Outboxes in memory: messages of an attempt, until it is known whether it counts.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::dispatch::Dispatch;
use super::sealed::SealedMessage;
use crate::error::{SendError, SendErrorKind};
use crate::message::Intent;
use crate::transport::{Target, Transport};

/// Messages of a delivery that are kept until a later step takes them.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<Vec<SealedMessage>>);

impl Held {
    pub(crate) fn put(&self, messages: Vec<SealedMessage>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = messages;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }

    pub(crate) fn take(&self) -> Vec<SealedMessage> {
        mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Outbox that holds what one attempt of a consumer sends, until the attempt ends.
/// `held` is `None` from then on: a task that outlives its consumer gets an error, as its message
/// would not be safe.
#[derive(Debug)]
pub(crate) struct Outbox {
    transport: Arc<dyn Transport>,
    held: Mutex<Option<Vec<SealedMessage>>>,
}

impl Outbox {
    pub(crate) fn open(transport: Arc<dyn Transport>) -> Self {
        Self {
            transport,
            held: Mutex::new(Some(Vec::new())),
        }
    }

    /// Closes the outbox and takes the messages that it holds.
    pub(crate) fn close(&self) -> Vec<SealedMessage> {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .unwrap_or_default()
    }
}

#[async_trait]
impl Dispatch for Outbox {
    async fn dispatch(self: Arc<Self>, sealed: SealedMessage) -> Result<(), SendError> {
        // A reply to a requester who is gone is dropped later; it is no reason to fail.
        if sealed.intent != Intent::Respond {
            self.transport.check(&sealed.outgoing)?;
            if let Target::Exchange {
                name,
                topology: None,
            } = &sealed.outgoing.target
            {
                self.transport.find_exchange(name).await?;
            }
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = held.as_mut() else {
            return Err(SendError::new(
                SendErrorKind::Closed,
                "the consumer has ended, and its outbox with it: await what it sends before it returns, \
                 or send past the outbox with .immediately() or a bus handle",
            ));
        };
        held.push(sealed);
        Ok(())
    }
}
