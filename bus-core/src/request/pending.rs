//! Requests that wait for their reply, by id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::codec::DecodeError;
use crate::message::Envelope;

/// The reply, or the error of decoding it.
pub(super) type Answer = Result<Envelope, DecodeError>;

/// Requests that wait, by request id.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<HashMap<Uuid, oneshot::Sender<Answer>>>);

impl Pending {
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(super) fn register(self: &Arc<Self>, id: Uuid) -> (Ticket, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, sender);
        (
            Ticket {
                id,
                pending: Arc::clone(self),
            },
            receiver,
        )
    }

    pub(super) fn forget(&self, id: Uuid) -> Option<oneshot::Sender<Answer>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id)
    }

    pub(super) fn answer(&self, id: Uuid, answer: Answer) {
        let answered = self
            .forget(id)
            .is_some_and(|waiting| waiting.send(answer).is_ok());
        if !answered {
            tracing::debug!(request_id = %id, "a late or unknown reply is dropped");
        }
    }

    pub(super) fn clear(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

/// Registration of a request, which ends when it is dropped.
/// The future that waits owns it, so a cancelled wait ends it too.
pub(super) struct Ticket {
    pub(super) id: Uuid,
    pending: Arc<Pending>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.pending.forget(self.id);
    }
}
