//! The end of a bus: runs once, in a task of its own; all callers await it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::error::StopTimeout;

/// State of the stop of a bus: requested or not, and its outcome.
#[derive(Debug)]
pub(crate) struct Stop {
    begun: AtomicBool,
    /// `None` until the stop is over.
    outcome: watch::Sender<Option<Result<(), StopTimeout>>>,
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

    pub(crate) fn end(&self, outcome: Result<(), StopTimeout>) {
        self.outcome.send_replace(Some(outcome));
    }

    /// Waits for the outcome.
    pub(crate) async fn outcome(&self) -> Result<(), StopTimeout> {
        let mut outcome = self.outcome.subscribe();
        // The sender lives as long as `self`.
        let over = outcome.wait_for(Option::is_some).await.ok();
        over.and_then(|outcome| outcome.clone()).unwrap_or(Ok(()))
    }
}

/// Ends a stop that is dropped with its runtime, or that panics.
///
/// Its callers would otherwise wait without end.
pub(crate) struct Ending<'a> {
    pub(crate) stop: &'a Stop,
    pub(crate) stop_timeout: Duration,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if !self.stop.is_over() {
            self.stop.end(Err(StopTimeout {
                after: self.stop_timeout,
                consumers: true,
                services: Vec::new(),
            }));
        }
    }
}
