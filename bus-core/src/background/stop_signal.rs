//! The signal on which a background service ends.

use tokio::sync::watch;

/// A signal that a background service should end.
///
/// Clones are for the tasks of the service.
#[derive(Clone, Debug)]
pub struct StopSignal(watch::Receiver<bool>);

impl StopSignal {
    pub(super) fn new(requested: watch::Receiver<bool>) -> Self {
        Self(requested)
    }

    /// Resolves when the stop is requested, at once if it was before.
    ///
    /// So it does when the bus is dropped. Cancel-safe.
    pub async fn requested(&self) {
        // An error means that the bus is gone.
        let _ = self.0.clone().wait_for(|requested| *requested).await;
    }

    /// Returns `true` if the stop is requested.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_is_requested_by_a_call_or_by_the_end_of_the_bus() {
        let (request, requested) = watch::channel(false);
        let stop = StopSignal::new(requested);
        assert!(!stop.is_requested());
        request.send_replace(true);
        assert!(stop.is_requested());
        stop.requested().await;

        let (request, requested) = watch::channel(false);
        let stop = StopSignal::new(requested);
        drop(request);
        assert!(stop.is_requested());
        stop.requested().await;
    }
}
