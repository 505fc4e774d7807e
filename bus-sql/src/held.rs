//! Messages of a unit of work outside of consumers, until it is written.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bus_core::SendError;
use bus_core::error::SendErrorKind;
use bus_core::send::{Dispatch, SealedMessage};

/// Messages that wait to be written; `None` once they are.
#[derive(Debug)]
pub(crate) struct Held(Mutex<Option<Vec<SealedMessage>>>);

impl Held {
    pub(crate) fn open() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(Vec::new()))))
    }

    /// Takes the messages, and refuses more.
    pub(crate) fn close(&self) -> Vec<SealedMessage> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.take().unwrap_or_default()
    }
}

#[async_trait]
impl Dispatch for Held {
    async fn dispatch(self: Arc<Self>, sealed: SealedMessage) -> Result<(), SendError> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
}
