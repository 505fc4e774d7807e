//! Requesters, for replies that are given later.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::message::Envelope;

/// Requester of a message, kept for a reply that is given later.
///
/// [`ConsumeContext::requester`](crate::ConsumeContext::requester) gives it, and
/// [`respond_to`](crate::ConsumeContext::respond_to) takes it, in the consumer of another message.
/// A store keeps it as JSON.
///
/// ```
/// use bus_core::send::Requester;
/// use serde::{Deserialize, Serialize};
///
/// /// A row of those who wait.
/// #[derive(Serialize, Deserialize)]
/// struct Reservation { sku: String, by: Option<Requester> }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requester {
    pub(crate) address: String,
    pub(crate) request_id: Option<Uuid>,
}

impl Requester {
    /// Returns the requester of a message; `None` if it wants no reply.
    pub(crate) fn of(envelope: &Envelope) -> Option<Self> {
        Some(Self {
            address: envelope.response_address.as_ref()?.to_string(),
            request_id: envelope.request_id,
        })
    }
}
