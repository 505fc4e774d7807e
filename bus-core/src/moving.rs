//! Moves a delivery that failed, or that nobody wants, to the queue that keeps it.

use std::time::Duration;

use crate::context::Received;
use crate::cutting;
use crate::pause::{Backoff, from_now};
use crate::receiver::Receiver;
use crate::transport::{Outgoing, TransportError, TransportErrorKind};

impl Receiver {
    /// Moves a delivery, and tries until that has worked: it is acknowledged only then. `false` if it goes back instead.
    ///
    /// One that cannot be moved gives up its concurrency slot, and shows in the endpoint's health.
    pub(crate) async fn move_out(&self, received: &Received, outgoing: Outgoing) -> bool {
        let queue = outgoing.target.name();
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
        let mut cancelled = self.site.cancelled.clone();
        let mut trouble = None;
        loop {
            let error = match self.try_to_move(&outgoing).await {
                Ok(()) => return true,
                Err(error) if error.kind() == TransportErrorKind::Closed => return false,
                Err(error) => error,
            };
            received.slot.give_up();
            if trouble.is_none() {
                tracing::error!(endpoint = %self.site.endpoint, queue, %error, "the message cannot be moved yet; it stays unsettled");
            }
            let what = || format!("cannot be moved to `{queue}`");
            trouble
                .get_or_insert_with(|| self.site.troubles.note(what(), String::new()))
                .because(error.to_string());
            // What may pass is worth the whole stop timeout.
            let is_final = !error.kind().is_transient();
            tokio::select! {
                biased;
                _ = cancelled.wait_for(|cancelled| *cancelled) => return false,
                () = received.slot.slots().leaving(), if is_final => return false,
                () = backoff.wait() => {}
            }
        }
    }

    /// Whole, else with fewer headers: the body matters more.
    async fn try_to_move(&self, outgoing: &Outgoing) -> Result<(), TransportError> {
        let outbound = &self.site.outbound;
        let mut headers = outgoing.headers.clone();
        loop {
            let outgoing = Outgoing {
                headers: headers.clone(),
                deadline: from_now(outbound.deadline()),
                ..outgoing.clone()
            };
            match outbound.transport.send(outgoing).await {
                Err(error)
                    if error.kind() == TransportErrorKind::TooLarge
                        && cutting::cut(&mut headers) =>
                {
                    tracing::warn!(endpoint = %self.site.endpoint, %error, "headers of the message are cut, so that it can be moved");
                }
                outcome => return outcome,
            }
        }
    }
}
