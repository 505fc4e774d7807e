//! The message being consumed, which causes outgoing ones.

use std::sync::Arc;

use uuid::Uuid;

use super::context::SendContext;
use crate::codec::Codec;
use crate::idempotency::KEY_HEADER;
use crate::message::{Envelope, TraceContext};
use crate::observe::Propagator;
use crate::observe::propagator::inject;

/// The message being consumed, from which outgoing messages take ids and headers.
pub(crate) struct Origin<'a> {
    pub(crate) envelope: &'a Envelope,
    pub(crate) address: &'a Arc<str>,
    pub(crate) trace: &'a TraceContext,
    pub(crate) propagator: &'a dyn Propagator,
    pub(crate) priority: Option<u8>,
    pub(crate) codec: Codec,
}

impl Origin<'_> {
    /// Passes ids, headers and trace of the consumed message on to one that it causes.
    pub(crate) fn apply(&self, context: &mut SendContext) {
        let (from, to) = (self.envelope, &mut context.envelope);
        to.conversation_id = from.conversation_id.or_else(|| Some(Uuid::now_v7()));
        to.initiator_id = from.correlation_id.or(from.request_id);
        to.source_address = Some(Arc::clone(self.address));
        for (name, value) in from.headers.iter().filter(|(name, _)| is_user_header(name)) {
            if !to.headers.contains(name) {
                to.headers.insert(name.to_owned(), value.clone());
            }
        }
        inject(self.propagator, Some(self.trace), &mut to.headers);
        context.priority = self.priority;
        context.codec = self.codec;
    }
}

/// Returns `true` if a header belongs to the user and is passed on.
/// `MT-…`, `traceparent` and the idempotency key belong to their own message only.
pub(crate) fn is_user_header(name: &str) -> bool {
    !name
        .get(..3)
        .is_some_and(|prefix| prefix.eq_ignore_ascii_case("MT-"))
        && !name.eq_ignore_ascii_case("traceparent")
        && !name.eq_ignore_ascii_case(KEY_HEADER)
}
