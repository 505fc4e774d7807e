//! Moves a delivery that failed, or that no consumer accepts, to its queue.

use std::borrow::Cow;
use std::time::Duration;

use super::cutting;
use super::receiver::Receiver;
use crate::consume::{ReceiveContext, Waits};
use crate::message::Headers;
use crate::transport::backoff::from_now;
use crate::transport::{Incoming, Outgoing, Target, TransportError, TransportErrorKind};

/// Builds the message that takes a delivery, as it came, to another place.
pub(super) fn forwarded(incoming: &Incoming, target: Target, headers: Headers) -> Outgoing {
    Outgoing {
        routing_key: Cow::Owned(incoming.routing_key.clone()),
        content_type: incoming.content_type.clone().map(Cow::Owned),
        message_id: incoming.message_id.clone(),
        correlation_id: incoming.correlation_id.clone(),
        headers,
        priority: incoming.priority,
        mandatory: true,
        original: incoming.original.clone(),
        ..Outgoing::new(target, incoming.body.clone())
    }
}

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl Receiver {
    /// Moves a delivery, and tries until that has worked.
    ///
    /// It is acknowledged only then. Returns `false` if it goes back instead.
    ///
    /// A delivery that cannot be moved gives up its concurrency slot, and shows in the endpoint's
    /// health.
    pub(crate) async fn move_out(&self, received: &ReceiveContext, outgoing: Outgoing) -> bool {
        let queue = outgoing.target.name();
        let mut waits = Waits::new(received, FIRST_WAIT, LONGEST_WAIT);
        let mut trouble = None;
        loop {
            let error = match self.try_to_move(&outgoing).await {
                Ok(()) => return true,
                Err(error) if error.kind() == TransportErrorKind::Closed => return false,
                Err(error) => error,
            };
            received.slot.give_up();
            if trouble.is_none() {
                tracing::error!(endpoint = %self.endpoint.name, queue, %error, "the message cannot be moved yet; it stays unsettled");
            }
            let what = || format!("cannot be moved to `{queue}`");
            trouble
                .get_or_insert_with(|| self.endpoint.troubles.note(what(), String::new()))
                .because(error.to_string());
            // A transient error is worth the whole stop timeout.
            let next = if error.kind().is_transient() {
                waits.next().await
            } else {
                waits.next_while_pulling(received).await
            };
            if next.is_err() {
                return false;
            }
        }
    }

    /// Sends the message whole, else with fewer headers: the body matters more.
    async fn try_to_move(&self, outgoing: &Outgoing) -> Result<(), TransportError> {
        let outbound = &self.endpoint.outbound;
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
                    tracing::warn!(endpoint = %self.endpoint.name, %error, "headers of the message are cut, so that it can be moved");
                }
                outcome => return outcome,
            }
        }
    }
}
