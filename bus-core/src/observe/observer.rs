//! Who watches: what was sent, consumed, failed.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::error::ConsumeError;
use crate::error::panics::caught;
use crate::message::Envelope;
use crate::message::Intent;

/// Is told what happened, after it happened. For test harnesses, metrics and audits.
///
/// Called on the path of every message: an observer must be quick and must not block. It cannot change the outcome,
/// also not by a panic.
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
    /// The broker owns a message of ours.
    fn sent(&self, envelope: &Envelope, intent: Intent) {
        let _ = (envelope, intent);
    }

    /// A consumer has succeeded. Its delivery is acknowledged right after this, so that a broker without unsettled
    /// deliveries means that everything was observed.
    fn consumed(&self, consumed: &Consumed<'_>) {
        let _ = consumed;
    }

    /// A delivery has failed for good and was moved to the error queue. It is acknowledged right after this.
    fn faulted(&self, consumed: &Consumed<'_>, error: &ConsumeError) {
        let _ = (consumed, error);
    }
}

/// A delivery that was handled.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Consumed<'a> {
    /// The endpoint.
    pub endpoint: &'a str,
    /// Its metadata; empty where it could not be read.
    pub envelope: &'a Envelope,
    /// The decoded message; none where it could not be read.
    pub message: Option<&'a (dyn Any + Send + Sync)>,
    /// How often the consumer ran for this delivery.
    pub attempts: u32,
    /// The endpoint had handled the message before, and did not again.
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

    /// A panic ends here: it would take the publisher with it, or all that its endpoint is handling.
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
