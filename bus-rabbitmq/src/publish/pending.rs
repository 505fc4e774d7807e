//! One message on its way through a publisher, and the errors that it may end with.
//!
//! | error kind | outcome of the message |
//! |---|---|
//! | `Unreachable` | never written; no connection, or no place, before its deadline |
//! | `TimedOut` | written, and not confirmed before its deadline; it may have arrived |
//! | `Nacked` | refused for now (`basic.nack`) until its deadline; other queues may have taken it |
//! | `Unroutable` | returned (`basic.return`), or its exchange does not exist |
//! | `AccessRefused`, `TooLarge`, `Protocol` | refused for good; another try cannot help |
//! | `Closed` | the transport was closed first |
//!
//! A sender may send the same message again after each of them, as the id stays. After
//! `Unreachable` that cannot make a duplicate.

use std::collections::VecDeque;

use bus_core::transport::{Outgoing, Target, TransportError, TransportErrorKind};
use lapin::BasicProperties;
use lapin::types::ShortString;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::convert::{properties, short};
use crate::error::closed;

/// Index of a route.
///
/// Valid as long as messages are held at the route or on their way there.
pub(crate) type RouteId = usize;

/// Usual reasons for a negative acknowledgement.
///
/// RabbitMQ sends `basic.nack` without a reason: if a queue with `x-overflow: reject-publish` is at
/// its limit, or the process of a queue failed.
pub(crate) const FULL: &str = "a queue is full or failed";

/// List of pending messages; its owner defines the order.
pub(crate) type PendingPublishes = VecDeque<Box<PendingPublish>>;

/// Message with its waiting sender and the state of its delivery.
///
/// Boxed wherever it is kept, as it moves between lists for each step of its way.
pub(crate) struct PendingPublish {
    pub(crate) outgoing: Outgoing,
    /// Arguments of the client's publish, made in the caller's task.
    ///
    /// They are taken for a write, and made again for another one.
    parts: Option<Box<Parts>>,
    /// Sender of the outcome; `None` once the outcome is reported.
    done: Option<oneshot::Sender<Result<(), TransportError>>>,
    /// Number that identifies the message if it is returned; mandatory messages only.
    pub(crate) mark: Option<u64>,
    /// Reason of its return, if the broker returned it.
    pub(crate) returned: Option<String>,
    /// Position among all messages that were handed over, from 1.
    ///
    /// The order of writing, also for messages that are written again.
    pub(crate) number: u64,
    /// Route in its schedule; valid once the message is on its way.
    pub(crate) route: RouteId,
    /// Batch of the message; it is on its way only with others of the same batch.
    pub(crate) batch: u64,
    /// `true` if an earlier write, on a lost channel, may have reached a queue.
    pub(crate) may_have_arrived: bool,
    pub(crate) standing: Standing,
    /// `true` if the broker refused it for now; some of its queues may have taken it.
    pub(crate) was_nacked: bool,
    /// `true` if its target was declared again for it.
    pub(crate) was_declared_again: bool,
    /// Number of times a connection was closed while it was alone on its channel.
    pub(crate) strikes: u32,
}

/// Role of a message in the closing of a channel by the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Message that nothing is known of.
    #[default]
    Plain,
    /// Cause, or one of several candidates; sent alone until that is known.
    Suspect(Scope),
    /// Message that the broker has read without closing the channel.
    Cleared,
}

/// Part of a connection that the broker closes because of a message.
///
/// Ordered by the number of channels that suffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// The one channel that the message was written to (a soft error of AMQP).
    Channel,
    /// The connection with all of its channels (a hard error of AMQP).
    Connection,
}

/// Arguments of the client's publish, except for the body.
///
/// Made in the task of the sender, so that the one task of the channel has less to do.
pub(crate) struct Parts {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) properties: BasicProperties,
    /// Size of the headers among the properties, in bytes.
    pub(crate) header_size: usize,
}

impl Parts {
    /// Makes the arguments; fails for a name or key above 255 bytes, or large headers.
    ///
    /// A queue is sent to through the exchange of its name, as MassTransit does, so that the
    /// bindings of that exchange apply. An inbox has no exchange: the default exchange routes by
    /// the name of the queue.
    fn of(outgoing: &Outgoing, mark: Option<u64>) -> Result<Box<Self>, TransportError> {
        let (exchange, routing_key) = match &outgoing.target {
            Target::Exchange { name, .. } => (
                short("exchange name", name)?,
                short("routing key", &outgoing.routing_key)?,
            ),
            Target::Queue(name) => (
                short("queue name", name)?,
                short("routing key", &outgoing.routing_key)?,
            ),
            Target::Inbox(name) => (ShortString::default(), short("queue name", name)?),
        };
        let (properties, header_size) = properties(outgoing, mark)?;
        Ok(Box::new(Self {
            exchange,
            routing_key,
            properties,
            header_size,
        }))
    }
}

impl PendingPublish {
    /// Creates a pending message; checks all that can be checked without the broker.
    pub(crate) fn new(
        outgoing: Outgoing,
        mark: u64,
        done: oneshot::Sender<Result<(), TransportError>>,
    ) -> Result<Self, TransportError> {
        if outgoing.deliver_at.is_some() {
            return Err(TransportError::new(
                TransportErrorKind::Unsupported,
                format!(
                    "the message to `{}` cannot be delayed: this transport has no delayed delivery",
                    outgoing.target.name()
                ),
            ));
        }
        let mark = outgoing.mandatory.then_some(mark);
        let parts = Some(Parts::of(&outgoing, mark)?);
        Ok(Self {
            outgoing,
            parts,
            done: Some(done),
            mark,
            returned: None,
            number: 0,
            route: 0,
            batch: 0,
            may_have_arrived: false,
            standing: Standing::Plain,
            was_nacked: false,
            was_declared_again: false,
            strikes: 0,
        })
    }

    /// Takes the arguments for a write; makes them again if they were taken before.
    pub(crate) fn take_parts(&mut self) -> Result<Box<Parts>, TransportError> {
        match self.parts.take() {
            Some(made) => Ok(made),
            None => Parts::of(&self.outgoing, self.mark),
        }
    }

    /// Returns the name of the exchange as the broker sees it.
    pub(crate) fn exchange(&self) -> &str {
        match &self.outgoing.target {
            Target::Exchange { name, .. } | Target::Queue(name) => name,
            Target::Inbox(_) => "",
        }
    }

    /// Returns the routing key as the broker sees it.
    pub(crate) fn routing_key(&self) -> &str {
        match &self.outgoing.target {
            Target::Exchange { .. } | Target::Queue(_) => &self.outgoing.routing_key,
            Target::Inbox(name) => name,
        }
    }

    /// Returns its time to live as the broker reads it.
    pub(crate) fn expiration(&self) -> Option<String> {
        let parts = Parts::of(&self.outgoing, self.mark).ok()?;
        let expiration = parts.properties.expiration().as_ref();
        expiration.map(ToString::to_string)
    }

    /// Returns the target as texts of errors name it.
    pub(crate) fn target(&self) -> String {
        match &self.outgoing.target {
            Target::Exchange { name, .. } => format!("exchange `{name}`"),
            Target::Queue(name) | Target::Inbox(name) => format!("queue `{name}`"),
        }
    }

    /// Returns `true` if a sender still waits for its outcome.
    ///
    /// A message that is not wanted is dropped instead of written.
    pub(crate) fn is_wanted(&self) -> bool {
        self.done.as_ref().is_some_and(|done| !done.is_closed())
    }

    /// Returns `true` if its sender has received the error for its deadline.
    pub(crate) fn is_expired(&self) -> bool {
        self.done.is_none()
    }

    /// Returns `true` if its deadline has passed and its sender does not know yet.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.done.is_some()
            && self
                .outgoing
                .deadline
                .is_some_and(|deadline| deadline <= now)
    }

    /// Reports an error to its sender; the message stays on its way.
    pub(crate) fn expire(&mut self, error: TransportError) {
        if let Some(done) = self.done.take() {
            // The sender may have stopped waiting.
            let _ = done.send(Err(error));
        }
    }

    /// Returns `true` if its deadline has passed and `other` is the same message.
    ///
    /// Two messages are the same if message id, name of the target and body are equal. A message
    /// without an id is the same as no other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.is_expired()
            && self.outgoing.message_id.is_some()
            && self.outgoing.message_id == other.outgoing.message_id
            && self.outgoing.target.name() == other.outgoing.target.name()
            && self.outgoing.body == other.outgoing.body
    }

    /// Takes over the sender and the deadline of another copy of the message.
    ///
    /// The copy on its way has the outcome of both: written once more, the message would arrive
    /// twice.
    pub(crate) fn rejoin(&mut self, other: Self) {
        self.done = other.done;
        self.outgoing.deadline = other.outgoing.deadline;
    }

    /// Makes the error for a message that was not written before its deadline.
    ///
    /// That includes one that waited to be written again. `why` is the reason for the wait.
    pub(crate) fn not_sent(&self, why: &str) -> TransportError {
        let target = self.target();
        if self.was_nacked {
            let text = format!(
                "RabbitMQ refused the message to {target} (negative acknowledgement), and did not \
                 take it before its deadline: {why}"
            );
            return self.refused(TransportErrorKind::Nacked, text);
        }
        if self.may_have_arrived {
            let text = format!(
                "the message to {target} was not confirmed before its connection was lost, nor sent again before its \
                 deadline; it may have arrived: {why}"
            );
            return TransportError::new(TransportErrorKind::TimedOut, text);
        }
        let text = format!("the message to {target} was not sent before its deadline: {why}");
        TransportError::new(TransportErrorKind::Unreachable, text)
    }

    /// Notes that the broker has read it; it is a plain message again, without batch.
    pub(crate) fn was_read(&mut self) {
        (self.standing, self.batch) = (Standing::Plain, 0);
    }

    /// Ends it with the error that no queue took it.
    pub(crate) fn unroutable(self: Box<Self>) {
        let text = format!(
            "no queue took the message to {} with routing key `{}`: {}",
            self.target(),
            self.routing_key(),
            self.returned.as_deref().unwrap_or("it came back")
        );
        let error = self.refused(TransportErrorKind::Unroutable, text);
        self.finish(Err(error));
    }

    /// Makes the error for a message whose transport was closed.
    pub(crate) fn closed(&self) -> TransportError {
        if !self.may_have_arrived && !self.was_nacked {
            return closed();
        }
        let text = format!(
            "{}; the message to {} was not confirmed before, and may have arrived",
            closed(),
            self.target()
        );
        TransportError::new(TransportErrorKind::Closed, text)
    }

    /// Makes the error for a message that waited behind refused ones for too long.
    ///
    /// Its deadline passed while the broker refused others to the same target.
    pub(crate) fn not_sent_behind(&self) -> TransportError {
        let text = format!(
            "the message to {} was not sent before its deadline: RabbitMQ refused those before it \
             (negative acknowledgement): {FULL}",
            self.target()
        );
        self.refused(TransportErrorKind::Nacked, text)
    }

    /// Makes the error for a message that cannot be sent now.
    ///
    /// If an earlier write may have reached a queue, the kind is `TimedOut`, and the text says so.
    pub(crate) fn refused(&self, kind: TransportErrorKind, text: String) -> TransportError {
        let is_open = self.was_nacked && kind != TransportErrorKind::Nacked;
        if !self.may_have_arrived && !is_open {
            return TransportError::new(kind, text);
        }
        let text = format!("{text}; it may have arrived all the same, as it was written before");
        TransportError::new(TransportErrorKind::TimedOut, text)
    }

    /// Returns `true` if declaring its target again may give it a route to a queue.
    pub(crate) fn is_routed_by_topology(&self) -> bool {
        match &self.outgoing.target {
            Target::Queue(_) => true,
            Target::Exchange { topology, .. } => topology.as_ref().is_some_and(|topology| {
                !topology.queues.is_empty() || !topology.bindings.is_empty()
            }),
            Target::Inbox(_) => false,
        }
    }

    /// Ends it with its outcome.
    ///
    /// Nothing happens if the outcome was reported before, as for a message that expired.
    pub(crate) fn finish(mut self: Box<Self>, outcome: Result<(), TransportError>) {
        if let Some(done) = self.done.take() {
            // The sender may have stopped waiting.
            let _ = done.send(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_message_that_was_on_its_way_when_a_channel_was_lost_may_have_arrived() {
        let outgoing = Outgoing::new(Target::Inbox("q".into()), Bytes::new());
        let (done, _outcome) = oneshot::channel();
        let mut pending = PendingPublish::new(outgoing, 0, done).unwrap();
        assert_eq!(pending.not_sent("").kind(), TransportErrorKind::Unreachable);
        pending.may_have_arrived = true;
        let error = pending.not_sent("RabbitMQ is away");
        assert_eq!(error.kind(), TransportErrorKind::TimedOut);
        assert!(error.to_string().contains("may have arrived"), "{error}");
        assert!(error.to_string().contains("RabbitMQ is away"), "{error}");
    }
}
