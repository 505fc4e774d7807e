//! Errors of requests.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use uuid::Uuid;

use crate::codec::{DecodeError, from_json};
use crate::error::{ExceptionInfo, SendError};
use crate::message::Envelope;

/// The usual reason for a missing reply.
const WITHOUT_REASON: &str = "is a consumer of it running?";

/// Error of a request that got no usable reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No reply came in time.
    ///
    /// The request may have been handled all the same, or no consumer of it is running.
    #[error("no reply to {request} within {after:?}; {}", reason.as_deref().unwrap_or(WITHOUT_REASON))]
    TimedOut {
        /// URN of the request.
        request: String,
        /// The deadline of the request.
        after: Duration,
        /// The reason why no reply could come, where the bus knows one.
        ///
        /// It does if its reply queue is not there.
        reason: Option<String>,
    },
    /// The responder failed, and answered with a fault.
    #[error("the request failed at the other side: {0}")]
    Fault(Box<RemoteFault>),
    /// The request could not be sent.
    #[error("the request could not be sent: {0}")]
    Send(#[from] SendError),
    /// The reply came, but cannot be decoded.
    #[error("the reply cannot be decoded: {0}")]
    Decode(#[from] DecodeError),
    /// The reply is of a type that the requester did not name.
    #[error("the reply is of type {replied:?}, accepted are {accepted:?}")]
    UnexpectedReply {
        /// URNs of the reply.
        replied: Vec<String>,
        /// Names of the accepted types.
        accepted: Vec<String>,
    },
    /// The bus was shut down while the reply was awaited.
    #[error("the bus was shut down before the reply came")]
    Stopped,
}

/// Fault with which the responder answered a request.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct RemoteFault {
    /// Id of the fault.
    pub fault_id: Option<Uuid>,
    /// Id of the request that failed.
    pub faulted_message_id: Option<Uuid>,
    /// The errors; several where several errors came together.
    pub exceptions: Vec<ExceptionInfo>,
    /// URNs of the request.
    pub fault_message_types: Option<Vec<String>>,
}

impl RemoteFault {
    /// Reads a reply that is a fault; `None` if it is not one.
    pub(crate) fn from_envelope(envelope: &Envelope) -> Option<Result<Self, DecodeError>> {
        let is_fault = envelope.is_of_type("urn:message:MassTransit:Fault")
            || envelope
                .message_types
                .iter()
                .any(|urn| urn.starts_with("urn:message:MassTransit:Fault["));
        is_fault.then(|| from_json(&envelope.message))
    }
}

impl fmt::Display for RemoteFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.exceptions.first() else {
            return f.write_str("no reason given");
        };
        write!(f, "{}: {}", first.exception_type, first.message)
    }
}
