//! Fault messages: reports that a message could not be consumed.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::consume::ConsumeError;
use crate::codec::HostInfo;
use crate::message::{Message, MessageType};
use crate::serde_helpers::DateTime;

/// Message that reports that a message of type `T` could not be consumed.
///
/// Consume it like any message. It goes to the fault address of the failed message, else to its
/// response address, else it is published. Members are MassTransit's.
///
/// ```
/// use bus_core::{ConsumeContext, ConsumeResult, Fault, Message};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Message)]
/// # #[message("Invoicing:CreateInvoice")]
/// # struct CreateInvoice { number: String }
///
/// async fn alert(ctx: ConsumeContext<Fault<CreateInvoice>>) -> ConsumeResult {
///     let reason = ctx.message().exceptions.first().map_or("unknown", |e| &e.message);
///     eprintln!("invoice not created: {reason}");
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault<T> {
    /// Id of the fault.
    pub fault_id: Uuid,
    /// Id of the message that failed, if it had one.
    #[serde(default)]
    pub faulted_message_id: Option<Uuid>,
    /// Time of the failure.
    #[serde(default)]
    pub timestamp: Option<DateTime>,
    /// The errors; several where several errors came together.
    #[serde(default = "Vec::new")]
    pub exceptions: Vec<ExceptionInfo>,
    /// The process in which the message failed.
    #[serde(default)]
    pub host: Option<HostInfo>,
    /// URNs of the message that failed.
    #[serde(default)]
    pub fault_message_types: Option<Vec<String>>,
    /// The message that failed, if it could be read.
    #[serde(default = "Option::default")]
    pub message: Option<T>,
}

/// One error, in MassTransit's members.
///
/// Rust knows neither the types of an error's sources nor a stack: the type of a source is `Error`,
/// and `stack_trace` and `source` are there in faults of .NET services only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExceptionInfo {
    /// Name of the error's type.
    pub exception_type: String,
    /// The error that caused this one.
    pub inner_exception: Option<Box<ExceptionInfo>>,
    /// Stack trace, if known.
    pub stack_trace: Option<String>,
    /// Text of the error.
    pub message: String,
    /// Program or library in which the error arose.
    pub source: Option<String>,
}

/// Maximal length of an error's text in a fault, in characters.
const MAX_TEXT: usize = 2048;

/// Maximal depth of a followed chain of causes.
const MAX_CAUSES: usize = 16;

impl ExceptionInfo {
    /// Describes the error and its causes.
    ///
    /// Each text is cut after 2048 characters, the chain after 16 errors.
    ///
    /// ```
    /// use bus_core::ConsumeError;
    /// use bus_core::error::ExceptionInfo;
    ///
    /// let parsed: Result<u32, _> = "12x".parse();
    /// let info = ExceptionInfo::of(&ConsumeError::from(parsed.unwrap_err()));
    /// assert!(info.exception_type.ends_with("ParseIntError"));
    /// assert_eq!(info.message, "invalid digit found in string");
    /// ```
    pub fn of(error: &ConsumeError) -> Self {
        let mut infos: Vec<Self> = Vec::new();
        for (depth, text) in error.texts().take(MAX_CAUSES).enumerate() {
            let message = cut(&text);
            let exception_type = if depth == 0 {
                error.type_name()
            } else {
                "Error"
            };
            infos.push(Self {
                exception_type: exception_type.to_owned(),
                message,
                ..Self::default()
            });
        }
        infos
            .into_iter()
            .rev()
            .reduce(|inner, outer| Self {
                inner_exception: Some(Box::new(inner)),
                ..outer
            })
            .unwrap_or_default()
    }
}

/// Cuts a text at the length that a fault carries; headers have the same limit.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

fn fault_of(message_type: MessageType) -> MessageType {
    any_fault().with_arguments([message_type])
}

/// Type that every fault has: its consumers hear of all failures.
fn any_fault() -> MessageType {
    MessageType::new("MassTransit:Fault")
}

impl<T: Message> Message for Fault<T> {
    fn message_type() -> MessageType {
        fault_of(T::message_type())
    }

    fn implements() -> Vec<MessageType> {
        T::implements()
            .into_iter()
            .map(fault_of)
            .chain([any_fault()])
            .collect()
    }
}

/// Message that reports that a message could not even be read: its type is unknown.
///
/// It takes the same way as a [`Fault`], which reports messages of known types.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiveFault {
    /// Id of the fault.
    pub fault_id: Uuid,
    /// Id of the message that failed, if it had one.
    #[serde(default)]
    pub faulted_message_id: Option<Uuid>,
    /// Time of the failure.
    #[serde(default)]
    pub timestamp: Option<DateTime>,
    /// The errors; several where several errors came together.
    #[serde(default)]
    pub exceptions: Vec<ExceptionInfo>,
    /// The process in which the message failed.
    #[serde(default)]
    pub host: Option<HostInfo>,
    /// URNs of the message that failed, if they could be read.
    #[serde(default)]
    pub fault_message_types: Option<Vec<String>>,
    /// Media type that the message claimed.
    #[serde(default)]
    pub content_type: Option<String>,
}

impl Message for ReceiveFault {
    fn message_type() -> MessageType {
        MessageType::new("MassTransit:ReceiveFault")
    }

    fn implements() -> Vec<MessageType> {
        vec![any_fault()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_nested() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::num::ParseIntError);
        let error = ConsumeError::from(Outer("x".parse::<i32>().unwrap_err()));
        let info = ExceptionInfo::of(&error);
        assert_eq!(info.message, "outer");
        assert!(info.exception_type.ends_with("Outer"));
        assert_eq!(
            info.inner_exception.unwrap().message,
            "invalid digit found in string"
        );
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(
            ExceptionInfo::of(&ConsumeError::from("ä".repeat(5000)))
                .message
                .chars()
                .count(),
            MAX_TEXT
        );
    }
}
