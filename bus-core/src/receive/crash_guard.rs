//! Protection against messages that seem to end the process that handles them.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, MutexGuard};

use crate::consume::Slot;
use crate::transport::{Incoming, Listener};

/// Number of redeliveries from which a message is handled alone among suspects.
const SUSPECT: u32 = 2;

/// Number of times that a message may be delivered by default.
pub(crate) const DEFAULT_MAX_DELIVERIES: u32 = 10;

/// Sets a message aside that comes again and again without an end.
///
/// A process that crashes gives everything back that it had prefetched, so innocent messages come
/// back with the culprit, as often as it does. Suspects are therefore handled one after the other,
/// each until the broker knows of its end: those before the culprit are done before the process
/// crashes again. One process sets aside one message only, the first that has come too often: the
/// messages that came with it are handled then.
#[derive(Debug)]
pub(crate) struct CrashGuard {
    max_deliveries: u32,
    suspects: Mutex<()>,
    /// `true` once this process has set a message aside.
    has_set_aside: AtomicBool,
}

/// Permission to handle a delivery.
#[derive(Debug)]
pub(crate) enum Admission<'a> {
    /// Handled beside others.
    Free,
    /// Handled while no other suspect is, as long as this guard is held.
    Alone(#[allow(dead_code)] MutexGuard<'a, ()>),
    /// Not handled; holds the number of its deliveries, this one included.
    SetAside(u32),
}

impl CrashGuard {
    pub(crate) fn new(max_deliveries: u32) -> Self {
        Self {
            max_deliveries,
            suspects: Mutex::default(),
            has_set_aside: AtomicBool::new(false),
        }
    }

    /// Decides how to handle a delivery; waits while another suspect is handled.
    ///
    /// One that has waited needs a slot again.
    pub(crate) async fn admit(
        &self,
        listener: &dyn Listener,
        incoming: &Incoming,
        slot: &Slot,
    ) -> Admission<'_> {
        if !incoming.redelivered {
            return Admission::Free;
        }
        // In a future of its own, so that the way of other messages stays small.
        Box::pin(self.admit_again(listener, incoming, slot)).await
    }

    async fn admit_again(
        &self,
        listener: &dyn Listener,
        incoming: &Incoming,
        slot: &Slot,
    ) -> Admission<'_> {
        let before = listener.redeliveries(incoming).await;
        if before < SUSPECT.min(self.max_deliveries) {
            return Admission::Free;
        }
        // Others run while it waits for its turn.
        slot.step_aside();
        let alone = self.suspects.lock().await;
        let is_first = || !self.has_set_aside.swap(true, Ordering::AcqRel);
        if before >= self.max_deliveries && is_first() {
            return Admission::SetAside(before + 1);
        }
        Admission::Alone(alone)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;
    use futures_util::FutureExt;

    use super::*;
    use crate::consume::Slots;
    use crate::transport::{Delivery, TransportError};

    #[derive(Debug)]
    struct Counting;

    #[async_trait]
    impl Listener for Counting {
        async fn next(&self) -> Option<Result<Delivery, TransportError>> {
            None
        }
        async fn stop(&self) {}
        async fn close(&self) {}
    }

    fn returned(times: u32) -> Incoming {
        Incoming {
            redelivered: times > 0,
            delivery_count: Some(times),
            ..Incoming::default()
        }
    }

    #[tokio::test]
    async fn one_message_is_set_aside_and_its_companions_are_handled() {
        let guard = CrashGuard::new(3);
        let slots = Arc::new(Slots::new(2, 4, 1));
        let [first, second] = [0, 0].map(|lane| Slot::take(&slots, lane));
        for times in [0, 1] {
            let admission = guard.admit(&Counting, &returned(times), &first).await;
            assert!(matches!(admission, Admission::Free), "{times}");
        }
        let before = guard.admit(&Counting, &returned(2), &first).await;
        assert!(matches!(before, Admission::Alone(_)));
        let next = returned(3);
        let waiting = guard.admit(&Counting, &next, &second);
        assert!(waiting.now_or_never().is_none(), "one suspect at a time");
        drop(before);
        let culprit = guard.admit(&Counting, &returned(3), &first).await;
        assert!(matches!(culprit, Admission::SetAside(4)));
        let companion = guard.admit(&Counting, &returned(3), &first).await;
        assert!(matches!(companion, Admission::Alone(_)));
    }
}
