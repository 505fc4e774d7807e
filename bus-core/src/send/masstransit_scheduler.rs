//! The client of a MassTransit scheduler.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use uuid::Uuid;

use super::dispatch::Dispatch;
use super::due::Due;
use super::schedule_message::{CancelScheduledMessage, ScheduleMessage};
use super::scheduler::Scheduler;
use super::sealed::SealedMessage;
use crate::codec::{Codec, HostInfo, JsonText, encode_message};
use crate::error::{SendError, SendErrorKind};
use crate::message::{Contract, Envelope, Intent, Message};
use crate::transport::{Outgoing, ScheduleToken, Target};

/// Scheduler that asks another service to keep messages, as MassTransit does.
///
/// The service is a MassTransit with Quartz.NET or Hangfire, or the scheduler endpoint of bus-sql.
/// A message is kept once the broker has the command: its delivery is up to the service, and
/// [`cancel`](crate::Bus::cancel) returns `true` without waiting for it. A cancellation that
/// overtakes its message in the service cancels nothing.
///
/// ```no_run
/// use std::time::Duration;
/// use bus_core::send::MassTransitScheduler;
/// use bus_core::transport::ScheduleToken;
/// use bus_core::{Bus, Message};
/// # use bus_core::transport::Transport;
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize, Message)]
/// #[message("Invoicing:RemindCustomer")]
/// struct RemindCustomer { number: String }
///
/// # async fn run(transport: impl Transport) -> Result<(), Box<dyn std::error::Error>> {
/// let bus = Bus::builder(transport).scheduler(MassTransitScheduler::new("quartz")).start().await?;
/// let token = ScheduleToken::new();
/// let week = Duration::from_secs(7 * 24 * 3600);
/// let reminder = RemindCustomer { number: "A-7".into() };
/// bus.publish(&reminder).deliver_in(week).schedule_token(token).await?;
/// bus.cancel(token).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct MassTransitScheduler {
    queue: Arc<str>,
}

impl MassTransitScheduler {
    /// Creates the client of the scheduler that consumes this queue.
    ///
    /// MassTransit's own default is `quartz`.
    pub fn new(queue: impl Into<Arc<str>>) -> Self {
        Self {
            queue: queue.into(),
        }
    }

    fn command<C: Message>(
        &self,
        command: &C,
        mut envelope: Envelope,
        of: &Outgoing,
    ) -> Result<SealedMessage, SendError> {
        envelope.message_types = Cow::Borrowed(&Contract::of::<C>().urns);
        envelope.message = encode_message(command).map_err(|error| {
            let text = format!("the command to the scheduler cannot be encoded: {error}");
            SendError::new(SendErrorKind::Encode, text).with_source(error)
        })?;
        let destination = format!("queue:{}", self.queue);
        envelope.destination_address = Some(destination.into());
        let encoded = Codec::MassTransit.encode(&envelope);
        let target = Target::Queue(Cow::Owned(self.queue.as_ref().to_owned()));
        let outgoing = Outgoing {
            routing_key: of.routing_key.clone(),
            content_type: Some(Cow::Borrowed(Codec::MassTransit.content_type())),
            message_id: envelope.message_id.map(|id| id.to_string()),
            correlation_id: envelope.correlation_id.map(|id| id.to_string()),
            headers: encoded.headers,
            priority: of.priority,
            durable: of.durable,
            mandatory: true,
            ..Outgoing::new(target, encoded.body)
        };
        Ok(SealedMessage {
            outgoing,
            envelope,
            intent: Intent::Send,
            deadline: std::time::Duration::MAX,
            due: None,
        })
    }

    fn to_schedule(&self, message: SealedMessage) -> Result<SealedMessage, SendError> {
        let SealedMessage {
            outgoing,
            envelope,
            deadline,
            due,
            ..
        } = message;
        let payload = JsonText::new(&envelope.message).ok_or_else(|| {
            let text = "a MassTransit scheduler keeps JSON alone, and the message is none";
            SendError::new(SendErrorKind::Encode, text)
        })?;
        let token = outgoing.schedule_token.unwrap_or_else(ScheduleToken::new);
        let types = envelope.message_types.iter();
        let schedule = ScheduleMessage::new(
            token.into(),
            due.map_or_else(SystemTime::now, Due::time).into(),
            types.map(|name| name.clone().into_owned()).collect(),
            destination(&envelope, &outgoing.target),
            payload,
        );
        let command = self.command(&schedule, envelope, &outgoing)?;
        Ok(SealedMessage {
            deadline,
            ..command
        })
    }

    fn to_cancel(&self, token: ScheduleToken) -> Result<SealedMessage, SendError> {
        let (id, now) = (Uuid::now_v7(), SystemTime::now());
        let cancel = CancelScheduledMessage::new(id, now.into(), token.into());
        let envelope = Envelope {
            message_id: Some(Uuid::now_v7()),
            correlation_id: Some(id),
            conversation_id: Some(Uuid::now_v7()),
            sent_time: Some(now),
            host: Some(HostInfo::current_json().clone()),
            ..Envelope::default()
        };
        let nowhere = Outgoing::new(Target::Queue(Cow::Borrowed("")), bytes::Bytes::new());
        self.command(&cancel, envelope, &nowhere)
    }
}

fn destination(envelope: &Envelope, target: &Target) -> String {
    match (&envelope.destination_address, target) {
        (Some(address), _) => address.as_ref().to_owned(),
        (None, Target::Exchange { name, .. }) => format!("exchange:{name}"),
        (None, Target::Queue(name) | Target::Inbox(name)) => format!("queue:{name}"),
    }
}

#[async_trait]
impl Scheduler for MassTransitScheduler {
    async fn schedule(
        &self,
        message: SealedMessage,
        transport: Arc<dyn Dispatch>,
    ) -> Result<(), SendError> {
        let command = self.to_schedule(message)?;
        transport.dispatch(command).await
    }

    async fn cancel(
        &self,
        token: ScheduleToken,
        transport: Arc<dyn Dispatch>,
    ) -> Result<bool, SendError> {
        let command = self.to_cancel(token)?;
        transport.dispatch(command).await.map(|()| true)
    }
}
