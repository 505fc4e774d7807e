//! The waits of a delivery between tries of something that must work in the end.

use std::time::Duration;

use tokio::sync::watch;

use super::receive_context::ReceiveContext;
use crate::error::ConsumeError;
use crate::transport::Backoff;

/// Waits that grow, until the endpoint cancels its consumers.
///
/// Every loop around a broker or store that may be away is `try; waits.next().await?`.
pub(crate) struct Waits {
    backoff: Backoff,
    cancelled: watch::Receiver<bool>,
}

/// End of all tries: the endpoint stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped;

impl From<Stopped> for ConsumeError {
    fn from(_: Stopped) -> Self {
        Self::cancelled()
    }
}

impl Waits {
    /// Creates waits: the first is about `first`, later ones double up to `cap`.
    pub(crate) fn new(received: &ReceiveContext, first: Duration, cap: Duration) -> Self {
        Self {
            backoff: Backoff::new(first, cap),
            cancelled: received.endpoint.cancelled.clone(),
        }
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// [`Stopped`] as soon as the endpoint cancels its consumers.
    pub(crate) async fn next(&mut self) -> Result<(), Stopped> {
        tokio::select! {
            biased;
            _ = self.cancelled.wait_for(|cancelled| *cancelled) => Err(Stopped),
            () = self.backoff.wait() => Ok(()),
        }
    }

    /// Waits before the next try, or until the worker gets no more deliveries.
    ///
    /// # Errors
    /// [`Stopped`] in either case; for work that need not be tried through the whole stop timeout.
    pub(crate) async fn next_while_pulling(
        &mut self,
        received: &ReceiveContext,
    ) -> Result<(), Stopped> {
        tokio::select! {
            biased;
            () = received.slot.slots().leaving() => Err(Stopped),
            next = self.next() => next,
        }
    }
}
