//! Observers of messages that were sent, were consumed or failed.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::error::ConsumeError;
use crate::error::panics::caught;
use crate::message::Envelope;
use crate::message::Intent;

/// Callbacks after messages were sent, were consumed or failed.
///
/// For test harnesses, metrics and audits. Called on the path of every message: an observer must be
/// quick and must not block. It cannot change the outcome, also not by a panic, which is caught and
/// logged.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use bus_core::message::{Envelope, Intent};
/// use bus_core::observe::Observer;
///
/// #[derive(Debug, Default)]
/// struct Sent(AtomicUsize);
/// impl Observer for Sent {
///     fn sent(&self, _: &Envelope, _: Intent) {
///         self.0.fetch_add(1, Ordering::Relaxed);
///     }
/// }
/// // Bus::builder(transport).observe(Sent::default())
/// ```
pub trait Observer: Send + Sync + fmt::Debug + 'static {
    /// Called when the broker owns a message of this bus.
    fn sent(&self, envelope: &Envelope, intent: Intent) {
        let _ = (envelope, intent);
    }

    /// Called when a consumer has succeeded, or a duplicate was ignored.
    ///
    /// The delivery is acknowledged right after this, so that a broker without unsettled deliveries
    /// means that everything was observed. One of an at-most-once endpoint was acknowledged before.
    fn consumed(&self, consumed: &Consumed<'_>) {
        let _ = consumed;
    }

    /// Called when a delivery has failed for good, after its move to the error queue.
    ///
    /// There is no move where the endpoint does not keep failed messages. The delivery is
    /// acknowledged right after this.
    fn faulted(&self, consumed: &Consumed<'_>, error: &ConsumeError) {
        let _ = (consumed, error);
    }
}

/// A delivery that was handled, or failed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Consumed<'a> {
    /// Name of the endpoint.
    pub endpoint: &'a str,
    /// Metadata of the message; empty where it could not be read.
    pub envelope: &'a Envelope,
    /// The decoded message; `None` where it could not be read.
    pub message: Option<&'a (dyn Any + Send + Sync)>,
    /// Number of times the consumer ran for this delivery.
    pub attempts: u32,
    /// `true` if the endpoint had handled the message before, and did not again.
    pub duplicate: bool,
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

    pub(crate) fn sent(&self, envelope: &Envelope, intent: Intent) {
        self.tell(|observer| observer.sent(envelope, intent));
    }

    pub(crate) fn consumed(&self, consumed: &Consumed<'_>) {
        self.tell(|observer| observer.consumed(consumed));
    }

    pub(crate) fn faulted(&self, consumed: &Consumed<'_>, error: &ConsumeError) {
        self.tell(|observer| observer.faulted(consumed, error));
    }

    /// Calls every observer. A panic ends here.
    /// It would take the publisher with it, or all that its endpoint is handling.
    fn tell(&self, news: impl Fn(&dyn Observer)) {
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

    #[derive(Debug, Default)]
    struct Count(AtomicUsize);

    impl Observer for Count {
        fn sent(&self, _: &Envelope, _: Intent) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn an_observer_that_panics_disturbs_nobody() {
        #[derive(Debug)]
        struct Clumsy;
        impl Observer for Clumsy {
            fn sent(&self, _: &Envelope, _: Intent) {
                panic!("clumsy");
            }
        }
        let count = Arc::new(Count::default());
        let observers = Observers::new(vec![Arc::new(Clumsy), Arc::clone(&count) as _]);
        observers.sent(&Envelope::default(), Intent::Publish);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }
}
