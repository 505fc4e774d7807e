//! The end of a bus: runs once, in a task of its own; all callers await it.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// State of the stop of a bus: requested or not, and its outcome.
#[derive(Debug)]
pub(crate) struct Stop {
    begun: AtomicBool,
    /// `true` if consumers were done in time; `None` until the stop is over.
    outcome: watch::Sender<Option<bool>>,
}

impl Stop {
    pub(crate) fn new() -> Self {
        Self {
            begun: AtomicBool::new(false),
            outcome: watch::Sender::new(None),
        }
    }

    /// Begins the stop; returns `true` to the first caller, which has to carry it out.
    pub(crate) fn begin(&self) -> bool {
        !self.begun.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.outcome.borrow().is_some()
    }

    pub(crate) fn end(&self, in_time: bool) {
        self.outcome.send_replace(Some(in_time));
    }

    /// Waits for the outcome; returns `true` if consumers were done in time.
    pub(crate) async fn outcome(&self) -> bool {
        let mut outcome = self.outcome.subscribe();
        // The sender lives as long as `self`.
        let over = outcome.wait_for(Option::is_some).await;
        over.is_ok_and(|in_time| *in_time == Some(true))
    }
}

/// Ends a stop that is dropped with its runtime, or that panics.
///
/// Its callers would otherwise wait without end.
pub(crate) struct Ending<'a>(pub(crate) &'a Stop);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if !self.0.is_over() {
            self.0.end(false);
        }
    }
}
