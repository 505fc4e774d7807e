//! MassTransit's contracts for a service that keeps messages until they are due.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::codec::JsonText;
use crate::message::{Message, MessageType};
use crate::serde_helpers::DateTime;

/// Command to a scheduler: deliver a message at a time.
///
/// MassTransit's contract `MassTransit.Scheduling:ScheduleMessage`. The ids, headers, priority and
/// time to live of the command are those of the message to be delivered. A command with a token
/// that is known replaces what waits with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ScheduleMessage {
    /// Token with which the message is cancelled.
    pub correlation_id: Uuid,
    /// Time before which the message is not delivered.
    pub scheduled_time: DateTime,
    /// Message types of the message, the most derived first.
    pub payload_type: Vec<String>,
    /// Address to which the message is delivered.
    pub destination: String,
    /// Message part of the message.
    pub payload: JsonText,
}

impl ScheduleMessage {
    pub(super) fn new(
        token: Uuid,
        scheduled_time: DateTime,
        payload_type: Vec<String>,
        destination: String,
        payload: JsonText,
    ) -> Self {
        Self {
            correlation_id: token,
            scheduled_time,
            payload_type,
            destination,
            payload,
        }
    }
}

// Without the derive, which is a feature.
impl Message for ScheduleMessage {
    fn message_type() -> MessageType {
        MessageType::new("MassTransit.Scheduling:ScheduleMessage")
    }
}

/// Command to a scheduler: do not deliver a message.
///
/// MassTransit's contract `MassTransit.Scheduling:CancelScheduledMessage`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CancelScheduledMessage {
    /// Id of the command.
    pub correlation_id: Uuid,
    /// Time of the command.
    pub timestamp: DateTime,
    /// Token of the message.
    pub token_id: Uuid,
}

impl Message for CancelScheduledMessage {
    fn message_type() -> MessageType {
        MessageType::new("MassTransit.Scheduling:CancelScheduledMessage")
    }

    fn correlation_id(&self) -> Option<Uuid> {
        Some(self.correlation_id)
    }
}

impl CancelScheduledMessage {
    pub(super) fn new(id: Uuid, timestamp: DateTime, token_id: Uuid) -> Self {
        Self {
            correlation_id: id,
            timestamp,
            token_id,
        }
    }
}
