//! Messages that a scheduler was asked to keep.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::context::ConsumeContext;
use crate::codec::Codec;
use crate::error::{SendError, SendErrorKind};
use crate::message::{Envelope, Headers, Intent};
use crate::send::{Due, ScheduleMessage, SealedMessage};
use crate::transport::{Address, InvalidAddress, Outgoing, ScheduleToken};

/// Header of MassTransit with the token of a message that was scheduled.
const TOKEN: &str = "MT-Scheduling-TokenId";

impl ConsumeContext<ScheduleMessage> {
    /// Returns the message that a client wants to be kept until it is due.
    ///
    /// For a scheduler: the message has the ids, the headers, the priority and the time to live of
    /// the command, and its [token](Outgoing::schedule_token). It declares nothing at its
    /// destination, as that came from the wire.
    ///
    /// # Errors
    /// [`NoRoute`](SendErrorKind::NoRoute) for a destination that cannot be read,
    /// [`Refused`](SendErrorKind::Refused) for one that
    /// [`reply_addresses`](crate::BusBuilder::reply_addresses) does not allow.
    pub fn scheduled_message(&self) -> Result<SealedMessage, SendError> {
        let (command, origin) = (self.message(), self.envelope());
        let address: Address = command
            .destination
            .parse()
            .map_err(|error: InvalidAddress| {
                SendError::new(SendErrorKind::NoRoute, error.to_string()).with_source(error)
            })?;
        let outbound = self.outbound();
        outbound.may_reply_to(&address)?;
        let types = command.payload_type.iter().cloned().map(Cow::Owned);
        let envelope = Envelope {
            destination_address: Some(Arc::from(address.to_uri(&outbound.base))),
            message_types: types.collect(),
            message: command.payload.to_bytes(),
            headers: headers(&origin.headers, command),
            ..origin.clone()
        };
        let encoded = Codec::MassTransit.encode(&envelope);
        let incoming = self.incoming();
        let outgoing = Outgoing {
            routing_key: Cow::Owned(incoming.routing_key.clone()),
            content_type: Some(Cow::Borrowed(Codec::MassTransit.content_type())),
            message_id: envelope.message_id.map(|id| id.to_string()),
            correlation_id: envelope.correlation_id.map(|id| id.to_string()),
            headers: encoded.headers,
            ttl: envelope.expiration_time.map(left),
            priority: incoming.priority,
            schedule_token: Some(ScheduleToken::from(command.correlation_id)),
            ..Outgoing::new(address.reply_target(), encoded.body)
        };
        Ok(SealedMessage {
            outgoing,
            envelope,
            intent: Intent::Send,
            deadline: outbound.deadline(),
            due: Some(Due::At(command.scheduled_time.into())),
        })
    }
}

/// The headers of the command; those that count its own deliveries stay behind.
fn headers(of_command: &Headers, command: &ScheduleMessage) -> Headers {
    let mut headers = of_command.clone();
    headers.retain(|name, _| !name.starts_with("MT-Redelivery") && !name.starts_with("MT-Bus-"));
    headers.insert(TOKEN, command.correlation_id.to_string());
    headers
}

/// The time to live from now on.
fn left(until: SystemTime) -> Duration {
    until.duration_since(SystemTime::now()).unwrap_or_default()
}
