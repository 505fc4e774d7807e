//! Requests that wait for their reply, by id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::codec::DecodeError;
use crate::message::Envelope;

/// The reply, or the error of decoding it.
pub(super) type Answer = Result<Envelope, DecodeError>;

type Waiting = HashMap<Uuid, oneshot::Sender<Answer>>;

/// Requests that wait, by request id; `None` once nothing can be answered any more.
#[derive(Debug)]
pub(super) struct Pending(Mutex<Option<Waiting>>);

impl Default for Pending {
    fn default() -> Self {
        Self(Mutex::new(Some(HashMap::new())))
    }
}

impl Pending {
    pub(super) fn len(&self) -> usize {
        self.waiting().as_ref().map_or(0, HashMap::len)
    }

    /// Registers a request.
    ///
    /// Its wait is over at once when nothing can be answered any more.
    pub(super) fn register(self: &Arc<Self>, id: Uuid) -> (Ticket, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        if let Some(waiting) = &mut *self.waiting() {
            waiting.insert(id, sender);
        }
        (
            Ticket {
                id,
                pending: Arc::clone(self),
            },
            receiver,
        )
    }

    pub(super) fn forget(&self, id: Uuid) -> Option<oneshot::Sender<Answer>> {
        self.waiting().as_mut()?.remove(&id)
    }

    pub(super) fn answer(&self, id: Uuid, answer: Answer) {
        let answered = self
            .forget(id)
            .is_some_and(|waiting| waiting.send(answer).is_ok());
        if !answered {
            tracing::debug!(request_id = %id, "a late or unknown reply is dropped");
        }
    }

    /// Ends every wait, of those that register later too.
    pub(super) fn close(&self) {
        *self.waiting() = None;
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_request_waits_for_replies_that_cannot_come() {
        let pending = Arc::<Pending>::default();
        let (_before, waiting) = pending.register(Uuid::now_v7());
        assert_eq!(pending.len(), 1);
        pending.close();
        assert!(waiting.await.is_err());
        let (_after, waiting) = pending.register(Uuid::now_v7());
        assert!(waiting.await.is_err());
        assert_eq!(pending.len(), 0);
    }
}
