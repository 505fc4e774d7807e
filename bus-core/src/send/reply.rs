//! Addresses of replies, which come from the wire.

use std::sync::Arc;

use super::context::SendContext;
use super::outbound::Outbound;
use crate::error::{SendError, SendErrorKind};
use crate::message::Envelope;
use crate::transport::{Address, Capability, InvalidAddress};

/// Turns a send context into a reply to an address that came with a message.
/// The reply declares nothing. Where messages have times to live, it lives no longer than the
/// requester waits, but at least a second.
pub(crate) fn address_reply(
    context: &mut SendContext,
    address: &Arc<str>,
    request: &Envelope,
    outbound: &Outbound,
) -> Result<(), SendError> {
    let parsed: Address = address.parse().map_err(|error: InvalidAddress| {
        SendError::new(SendErrorKind::NoRoute, error.to_string()).with_source(error)
    })?;
    outbound.may_reply_to(&parsed)?;
    context.target = parsed.reply_target();
    context.mandatory = true;
    context.routing_key = "".into();
    context.envelope.destination_address = Some(Arc::clone(address));
    let transport = &outbound.transport;
    let expiration = request.expiration_time;
    let expiration = expiration.filter(|_| transport.capabilities().has(Capability::MessageTtl));
    context.ttl = expiration.map(|until| {
        let left = until
            .duration_since(std::time::SystemTime::now())
            .unwrap_or_default();
        left.max(std::time::Duration::from_secs(1))
    });
    Ok(())
}
