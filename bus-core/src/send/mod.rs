//! Outgoing messages on their way to the transport or into an outbox.

pub(crate) mod context;
pub(crate) mod dispatch;
pub(crate) mod due;
pub(crate) mod filter;
mod masstransit_scheduler;
pub(crate) mod outbound;
pub(crate) mod outbox;
mod published;
pub(crate) mod record;
pub(crate) mod record_error;
pub(crate) mod reply;
pub(crate) mod requester;
mod schedule_message;
mod scheduled;
mod scheduler;
pub(crate) mod sealed;
pub(crate) mod sender;
pub(crate) mod sending;
pub(crate) mod sent_ids;
mod watched;

pub use context::SendContext;
pub use dispatch::Dispatch;
pub use due::Due;
pub use filter::SendFilter;
pub use masstransit_scheduler::MassTransitScheduler;
pub(crate) use outbound::{Origin, Outbound, OutboundSettings, ReplyAddresses};
pub(crate) use outbox::{Held, Outbox};
pub use record::{MessageMetadata, MessageRecord, TargetRecord};
pub use record_error::RecordError;
pub use requester::Requester;
pub use schedule_message::{CancelScheduledMessage, ScheduleMessage};
pub use scheduler::Scheduler;
pub use sealed::SealedMessage;
pub use sender::Sender;
pub use sending::{SendFuture, Sending, Sent};
pub(crate) use sent_ids::SentIds;
