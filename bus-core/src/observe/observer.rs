//! Observers of everything that a bus sends and receives.

use std::fmt;
use std::sync::Arc;

use super::changes::{ConnectionChange, EndpointChange};
use super::consumes::{ConsumeFault, PostConsume, PreConsume};
use super::receives::{FaultPublished, PostReceive, PreReceive};
use super::sends::{PostSend, PreSend, SendFault};
use crate::error::panics::caught;

/// Callbacks around what a bus sends and receives, and at changes of its state.
///
/// For test harnesses, metrics and audits. Called on the path of every message: an observer must be
/// quick and must not block. It cannot change the outcome, also not by a panic, which is caught and
/// logged. Without observers, a message costs no clock reading and no allocation for them.
///
/// A message is sent between `pre_send` and one of `post_send` and `send_fault`. A delivery begins
/// with `pre_receive` and ends with `post_receive`; each attempt in between begins with
/// `pre_consume` and ends with one of `post_consume` and `consume_fault`. The end is reported also
/// where a future is dropped.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use bus_core::observe::{Observer, PostSend};
///
/// #[derive(Debug, Default)]
/// struct Sent(AtomicUsize);
/// impl Observer for Sent {
///     fn post_send(&self, _: &PostSend<'_>) {
///         self.0.fetch_add(1, Ordering::Relaxed);
///     }
/// }
/// // Bus::builder(transport).observe(Sent::default())
/// ```
pub trait Observer: Send + Sync + fmt::Debug + 'static {
    /// Called before a message is handed to the transport.
    ///
    /// A message in the outbox of a consumer is handed over when the consumer has succeeded. One
    /// that is refused before that, by a send filter for example, is reported to its sender only.
    fn pre_send(&self, send: &PreSend<'_>) {
        let _ = send;
    }

    /// Called when the broker owns a message of this bus.
    fn post_send(&self, send: &PostSend<'_>) {
        let _ = send;
    }

    /// Called when a message was not sent, or its confirm is missing.
    ///
    /// A message that an outbox sends again is reported for each try.
    fn send_fault(&self, send: &SendFault<'_>) {
        let _ = send;
    }

    /// Called when an endpoint begins to handle a delivery, before it is decoded.
    fn pre_receive(&self, receive: &PreReceive<'_>) {
        let _ = receive;
    }

    /// Called when an endpoint has handled a delivery to its end.
    ///
    /// The delivery is settled right after this, so that a broker without unsettled deliveries
    /// means that everything was observed. One of an at-most-once endpoint was acknowledged before.
    fn post_receive(&self, receive: &PostReceive<'_>) {
        let _ = receive;
    }

    /// Called before an attempt to consume a message.
    fn pre_consume(&self, consume: &PreConsume<'_>) {
        let _ = consume;
    }

    /// Called when a consumer has succeeded.
    fn post_consume(&self, consume: &PostConsume<'_>) {
        let _ = consume;
    }

    /// Called when an attempt has failed, timed out, or was cancelled.
    fn consume_fault(&self, consume: &ConsumeFault<'_>) {
        let _ = consume;
    }

    /// Called when the fault of a failed delivery was sent or published.
    fn fault_published(&self, fault: &FaultPublished<'_>) {
        let _ = fault;
    }

    /// Called at the start, and when the health of the connections has changed.
    ///
    /// Changes that revert at once may be left out.
    fn connection_changed(&self, change: &ConnectionChange<'_>) {
        let _ = change;
    }

    /// Called when the state of an endpoint has changed.
    ///
    /// Changes that revert at once may be left out.
    fn endpoint_changed(&self, change: &EndpointChange<'_>) {
        let _ = change;
    }
}

/// All observers of a bus.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observers(Arc<[Arc<dyn Observer>]>);

impl Observers {
    pub(crate) fn new(observers: Vec<Arc<dyn Observer>>) -> Self {
        Self(observers.into())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls every observer, in the order in which they were added. A panic ends here.
    ///
    /// It would take the publisher with it, or all that its endpoint is handling.
    pub(crate) fn tell(&self, news: impl Fn(&dyn Observer)) {
        for observer in self.0.iter() {
            if let Err(panic) = caught(|| news(&**observer)) {
                tracing::error!(panic, "an observer panicked; the message is not affected");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::transport::Health;

    #[derive(Debug, Default)]
    struct Count(AtomicUsize);

    impl Observer for Count {
        fn connection_changed(&self, _: &ConnectionChange<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn an_observer_that_panics_disturbs_no_other() {
        #[derive(Debug)]
        struct Clumsy;
        impl Observer for Clumsy {
            fn connection_changed(&self, _: &ConnectionChange<'_>) {
                panic!("clumsy");
            }
        }
        let count = Arc::new(Count::default());
        let observers = Observers::new(vec![Arc::new(Clumsy), Arc::clone(&count) as _]);
        let change = ConnectionChange {
            address: "loopback://localhost/",
            previous: None,
            health: &Health::Up,
        };
        observers.tell(|observer| observer.connection_changed(&change));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }
}
