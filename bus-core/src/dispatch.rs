//! Where outgoing messages go: to the transport at once, or into an outbox.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::time::Instant;

use crate::observer::Observers;
use crate::outgoing::Parcel;
use crate::send_error::SendError;
use crate::transport::Transport;

/// Takes messages that leave.
///
/// `Ok` means that the message is safe: the broker owns it, or it is kept where the fate of the consumer's work
/// decides about it.
#[async_trait]
pub trait Dispatch: Send + Sync + fmt::Debug {
    /// Takes one message.
    async fn dispatch(&self, parcel: Parcel) -> Result<(), SendError>;
}

/// Sends at once.
#[derive(Debug)]
pub(crate) struct Direct {
    transport: Arc<dyn Transport>,
    observers: Observers,
}

impl Direct {
    pub(crate) fn new(transport: Arc<dyn Transport>, observers: Observers) -> Self {
        Self {
            transport,
            observers,
        }
    }
}

#[async_trait]
impl Dispatch for Direct {
    async fn dispatch(&self, parcel: Parcel) -> Result<(), SendError> {
        let Parcel {
            mut outgoing,
            envelope,
            intent,
            deadline,
        } = parcel;
        outgoing.deadline = Some(Instant::now() + deadline);
        if self.observers.is_empty() {
            return Ok(self.transport.send(outgoing).await?);
        }
        let sent = self.transport.send(outgoing).await;
        if sent.is_ok() {
            self.observers.sent(&envelope, intent);
        }
        Ok(sent?)
    }
}

/// Holds what one attempt of a consumer sends, until it is known whether the attempt counts.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<Vec<Parcel>>);

impl Held {
    pub(crate) fn put(&self, parcels: Vec<Parcel>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = parcels;
    }

    pub(crate) fn take(&self) -> Vec<Parcel> {
        mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Dispatch for Held {
    async fn dispatch(&self, parcel: Parcel) -> Result<(), SendError> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(parcel);
        Ok(())
    }
}
