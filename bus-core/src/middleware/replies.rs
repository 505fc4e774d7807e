//! Replies that are kept, for the requesters of duplicates.

use crate::consume::ReceiveContext;
use crate::error::{ConsumeError, ConsumeResult};
use crate::idempotency::StoredReply;
use crate::message::Intent;
use crate::send::SealedMessage;
use crate::send::reply::address_reply;

impl StoredReply {
    /// Keeps what a duplicate needs of a reply.
    pub fn of(reply: &SealedMessage) -> Self {
        let envelope = &reply.envelope;
        let message_types = envelope.message_types.iter();
        Self {
            message_types: message_types.map(ToString::to_string).collect(),
            message: envelope.message.clone(),
            headers: envelope.headers.clone(),
        }
    }
}

/// Marks a delivery as a duplicate, and addresses the replies of the first one.
/// They go to the duplicate's own requester, with its own request id.
pub(super) fn duplicate(
    received: &ReceiveContext,
    replies: Vec<StoredReply>,
) -> ConsumeResult<Vec<SealedMessage>> {
    received.progress.mark_duplicate();
    let Some(address) = received
        .envelope
        .response_address
        .as_ref()
        .filter(|_| !received.endpoint.is_tap)
    else {
        return Ok(Vec::new());
    };
    let outbound = &received.endpoint.outbound;
    let addressed = replies.into_iter().map(|reply| {
        let types: Vec<_> = reply.message_types.into_iter().map(Into::into).collect();
        let mut context = outbound.context_of(types.into(), reply.message, Intent::Respond);
        context.envelope.headers = reply.headers;
        received.origin().apply(&mut context);
        context.envelope.request_id = received.envelope.request_id;
        address_reply(&mut context, address, &received.envelope, outbound)
            .map_err(ConsumeError::permanent)?;
        Ok(outbound.pack(context)?)
    });
    addressed.collect()
}
