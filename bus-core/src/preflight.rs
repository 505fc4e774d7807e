//! What can be refused before anything leaves.

use crate::message::MAX_NAME;
use crate::outbound::Outbound;
use crate::outgoing::{Draft, Intent, Parcel};
use crate::send_error::{SendError, SendErrorKind};
use crate::topology::{Exchange, Presence, Topology};
use crate::transport::{Target, TransportErrorKind};

impl Outbound {
    /// Refuses at once what would be refused when it leaves: an outbox may hold it until its consumer can do nothing
    /// about it any more.
    pub(crate) fn check(&self, draft: &Draft) -> Result<(), SendError> {
        let delayed = draft.delay.is_some_and(|delay| !delay.is_zero());
        if delayed && !self.transport.capabilities().delayed_delivery {
            let text = "this transport cannot delay messages; leave .delay(…) out";
            return Err(SendError::new(SendErrorKind::Unsupported, text));
        }
        let header_names = draft.envelope.headers.iter().map(|(name, _)| name);
        let names = [
            ("name of its target", draft.target.name()),
            ("routing key", draft.routing_key.as_ref()),
        ];
        let all = names
            .into_iter()
            .chain(header_names.map(|name| ("name of a header", name)));
        for (what, name) in all {
            if name.len() > MAX_NAME {
                let start: String = name.chars().take(40).collect();
                let text = format!(
                    "the {what}, `{start}…`, has {} bytes; at most {MAX_NAME} can be sent",
                    name.len()
                );
                return Err(SendError::new(SendErrorKind::Refused, text));
            }
        }
        Ok(())
    }

    /// Of several messages none may leave if one is bound to be refused, as what has left cannot be called back.
    /// Exchanges that are never declared are those that may not be there.
    ///
    /// # Errors
    /// If one is missing.
    pub(crate) async fn look_up(&self, parcels: &[Parcel]) -> Result<(), SendError> {
        if parcels.len() < 2 {
            return Ok(());
        }
        for Parcel {
            outgoing, intent, ..
        } in parcels
        {
            let Target::Exchange {
                name,
                topology: None,
            } = &outgoing.target
            else {
                continue;
            };
            // A requester who is gone is no failure.
            if *intent == Intent::Respond {
                continue;
            }
            let mut exchange = Exchange::fanout(name.clone());
            exchange.presence = Presence::Existing;
            let topology = Topology {
                exchanges: vec![exchange],
                ..Topology::default()
            };
            match self.transport.declare(&topology).await {
                Err(error) if error.kind() == TransportErrorKind::Unroutable => {
                    return Err(error.into());
                }
                // What else is wrong is said when it is sent.
                _ => {}
            }
        }
        Ok(())
    }
}
