//! The way of a slip to its next activity or compensation.

use std::time::{Duration, SystemTime};

use bus_core::{ConsumeContext, ConsumeResult};

use crate::contracts::RoutingSlip;
use crate::error::SlipError;
use crate::publisher::NotSent;

/// Sends the slip on to the next activity or compensation.
///
/// It has an id of its own at each hop: an endpoint that handles each id once would take a slip
/// that visits it twice for a duplicate.
pub(crate) async fn forward(
    ctx: &ConsumeContext<RoutingSlip>,
    address: &str,
    slip: &RoutingSlip,
) -> ConsumeResult {
    let envelope = ctx.envelope();
    let mut sending = ctx.send_to(address, slip);
    if let Some(id) = envelope.request_id {
        sending = sending.request_id(id);
    }
    if let Some(address) = &envelope.response_address {
        sending = sending.response_address(address.clone());
    }
    if let Some(address) = &envelope.fault_address {
        sending = sending.fault_address(address.clone());
    }
    if let Some(until) = envelope.expiration_time {
        let left = until.duration_since(SystemTime::now()).unwrap_or_default();
        sending = sending.ttl(left.max(Duration::from_secs(1)));
    }
    let sent = sending.await;
    sent.map_err(|error| SlipError::sending(address, error))
}

/// Turns the error of an event into that of the attempt.
pub(crate) fn sent(outcome: Result<(), NotSent>) -> ConsumeResult {
    outcome.map_err(|(address, error)| SlipError::sending(&address, error))
}
