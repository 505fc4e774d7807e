//! What is left when consuming failed: the fault message.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::consume::ConsumeError;
use crate::codec::HostInfo;
use crate::message::{Message, MessageType};
use crate::serde_helpers::DateTime;

/// Tells that a message of type `T` could not be consumed. Consume it like any message.
///
/// It goes to the fault address of the failed message, else to its response address, else it is published. Members
/// are MassTransit's.
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
    /// Identifies the fault.
    pub fault_id: Uuid,
    /// The message that failed.
    #[serde(default)]
    pub faulted_message_id: Option<Uuid>,
    /// When.
    #[serde(default)]
    pub timestamp: Option<DateTime>,
    /// Why; several where several errors came together.
    #[serde(default = "Vec::new")]
    pub exceptions: Vec<ExceptionInfo>,
    /// The process in which it failed.
    #[serde(default)]
    pub host: Option<HostInfo>,
    /// The URNs of the message that failed.
    #[serde(default)]
    pub fault_message_types: Option<Vec<String>>,
    /// The message that failed, if it could be read.
    #[serde(default = "Option::default")]
    pub message: Option<T>,
}

/// One error, in MassTransit's members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExceptionInfo {
    /// The type of the error.
    pub exception_type: String,
    /// What caused it.
    pub inner_exception: Option<Box<ExceptionInfo>>,
    /// Where, if known.
    pub stack_trace: Option<String>,
    /// What happened.
    pub message: String,
    /// The program or library.
    pub source: Option<String>,
}

/// How much of an error's text travels, in characters.
const MAX_TEXT: usize = 2048;

/// How deep a chain of causes is followed.
const MAX_CAUSES: usize = 16;

impl ExceptionInfo {
    /// The error and its causes. Each text is cut after 2048 characters.
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

pub(crate) fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

fn fault_of(message_type: MessageType) -> MessageType {
    any_fault().with_arguments([message_type])
}

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

/// Tells that a message could not even be read: its type is unknown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiveFault {
    /// Identifies the fault.
    pub fault_id: Uuid,
    /// The message that failed, if it had an id.
    #[serde(default)]
    pub faulted_message_id: Option<Uuid>,
    /// When.
    #[serde(default)]
    pub timestamp: Option<DateTime>,
    /// Why.
    #[serde(default)]
    pub exceptions: Vec<ExceptionInfo>,
    /// The process in which it failed.
    #[serde(default)]
    pub host: Option<HostInfo>,
    /// The URNs of the message that failed, if they could be read.
    #[serde(default)]
    pub fault_message_types: Option<Vec<String>>,
    /// The media type that the message claimed.
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
