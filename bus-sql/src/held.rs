//! Messages of a unit of work outside of consumers, until it is written.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bus_core::SendError;
use bus_core::error::SendErrorKind;
use bus_core::send::{Dispatch, SealedMessage, Sender};

/// Messages that wait to be written.
#[derive(Debug)]
pub(crate) struct Held {
    sender: Sender,
    /// `None` once they are written.
    messages: Mutex<Option<Vec<SealedMessage>>>,
}

impl Held {
    pub(crate) fn open(sender: Sender) -> Arc<Self> {
        Arc::new(Self {
            sender,
            messages: Mutex::new(Some(Vec::new())),
        })
    }

    /// Takes the messages, and refuses more.
    pub(crate) fn close(&self) -> Vec<SealedMessage> {
        let held = self.messages.lock();
        let mut held = held.unwrap_or_else(PoisonError::into_inner);
        held.take().unwrap_or_default()
    }
}

#[async_trait]
impl Dispatch for Held {
    async fn dispatch(self: Arc<Self>, sealed: SealedMessage) -> Result<(), SendError> {
        self.sender.check(&sealed)?;
        let held = self.messages.lock();
        let mut held = held.unwrap_or_else(PoisonError::into_inner);
        match held.as_mut() {
            Some(held) => {
                held.push(sealed);
                Ok(())
            }
            None => Err(SendError::new(
                SendErrorKind::Closed,
                "the outbox was written already: send before that, or through the bus",
            )),
        }
    }

    fn keeps_until_due(&self) -> bool {
        true
    }
}

/// The outbox of an attempt, whose messages wait in the table until they are due.
#[derive(Debug)]
pub(crate) struct Scheduling(pub(crate) Arc<dyn Dispatch>);

#[async_trait]
impl Dispatch for Scheduling {
    async fn dispatch(self: Arc<Self>, sealed: SealedMessage) -> Result<(), SendError> {
        Arc::clone(&self.0).dispatch(sealed).await
    }

    fn keeps_until_due(&self) -> bool {
        true
    }
}
