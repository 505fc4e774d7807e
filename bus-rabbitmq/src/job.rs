//! One message on its way through a publisher.

use bus_core::transport::{Outgoing, Target, TransportError, TransportErrorKind};
use lapin::BasicProperties;
use lapin::types::ShortString;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::convert::{properties, short};

/// A message, who waits for it, and what is known of it.
pub(crate) struct Job {
    pub(crate) outgoing: Outgoing,
    /// Made by the caller, in its own task; taken when it is written, made again when it is written again.
    parts: Option<Box<Parts>>,
    /// The client had it, so the broker may have it.
    was_written: bool,
    done: Option<oneshot::Sender<Result<(), TransportError>>>,
    /// Tells it from the others should it come back; mandatory messages only.
    pub(crate) mark: Option<u64>,
    /// Why it came back, if it did.
    pub(crate) returned: Option<String>,
    /// How often its channel was closed by the broker, perhaps because of it.
    pub(crate) refusals: u32,
}

/// What the client takes beside the body.
pub(crate) struct Parts {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) properties: BasicProperties,
}

impl Parts {
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
        Ok(Box::new(Self {
            exchange,
            routing_key,
            properties: properties(outgoing, mark)?,
        }))
    }
}

impl Job {
    /// Checks everything that can be checked without the broker.
    pub(crate) fn new(
        outgoing: Outgoing,
        mark: u64,
        done: oneshot::Sender<Result<(), TransportError>>,
    ) -> Result<Self, TransportError> {
        if outgoing.delay.is_some() {
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
            was_written: false,
            done: Some(done),
            mark,
            returned: None,
            refusals: 0,
        })
    }

    /// What the client writes.
    pub(crate) fn take_parts(&mut self) -> Result<Box<Parts>, TransportError> {
        self.was_written = true;
        match self.parts.take() {
            Some(made) => Ok(made),
            None => Parts::of(&self.outgoing, self.mark),
        }
    }

    /// The exchange that the broker sees.
    pub(crate) fn exchange(&self) -> &str {
        match &self.outgoing.target {
            Target::Exchange { name, .. } | Target::Queue(name) => name,
            Target::Inbox(_) => "",
        }
    }

    fn routing_key(&self) -> &str {
        match &self.outgoing.target {
            Target::Exchange { .. } | Target::Queue(_) => &self.outgoing.routing_key,
            Target::Inbox(name) => name,
        }
    }

    /// Where it goes, in words.
    pub(crate) fn target(&self) -> String {
        match &self.outgoing.target {
            Target::Exchange { name, .. } => format!("exchange `{name}`"),
            Target::Queue(name) | Target::Inbox(name) => format!("queue `{name}`"),
        }
    }

    /// Whether somebody still waits for it.
    pub(crate) fn is_wanted(&self) -> bool {
        self.done.as_ref().is_some_and(|done| !done.is_closed())
    }

    /// Whether its waiter was told that its time is up.
    pub(crate) fn is_forsaken(&self) -> bool {
        self.done.is_none()
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.done.is_some()
            && self
                .outgoing
                .deadline
                .is_some_and(|deadline| deadline <= now)
    }

    /// Tells the waiter; the message goes on.
    pub(crate) fn forsake(&mut self, error: TransportError) {
        if let Some(done) = self.done.take() {
            // A waiter that is gone does not care.
            let _ = done.send(Err(error));
        }
    }

    /// Whether this one, given up by its waiter, is the same message as another one.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.is_forsaken()
            && self.outgoing.message_id.is_some()
            && self.outgoing.message_id == other.outgoing.message_id
            && self.outgoing.target.name() == other.outgoing.target.name()
            && self.outgoing.body == other.outgoing.body
    }

    /// Takes over the waiter of the same message.
    pub(crate) fn adopt(&mut self, other: Self) {
        self.done = other.done;
        self.outgoing.deadline = other.outgoing.deadline;
    }

    /// Its time was up while it waited to be written, or to be written again, and why it did.
    pub(crate) fn not_sent(&self, why: &str) -> TransportError {
        let target = self.target();
        if self.was_written {
            let text = format!(
                "the message to {target} was not confirmed before its connection was lost, nor sent again before its \
                 deadline; it may have arrived: {why}"
            );
            return TransportError::new(TransportErrorKind::TimedOut, text);
        }
        let text = format!("the message to {target} was not sent before its deadline: {why}");
        TransportError::new(TransportErrorKind::Unreachable, text)
    }

    /// The broker has it, or gave it back.
    pub(crate) fn confirm(mut self: Box<Self>) {
        let outcome = match self.returned.take() {
            None => Ok(()),
            Some(reason) => Err(TransportError::new(
                TransportErrorKind::Unroutable,
                format!(
                    "no queue took the message to {} with routing key `{}`: {reason}",
                    self.target(),
                    self.routing_key()
                ),
            )),
        };
        self.finish(outcome);
    }

    pub(crate) fn finish(mut self: Box<Self>, outcome: Result<(), TransportError>) {
        if let Some(done) = self.done.take() {
            // A waiter that is gone does not care.
            let _ = done.send(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_message_that_the_client_had_may_have_arrived() {
        let outgoing = Outgoing::new(Target::Inbox("q".into()), Bytes::new());
        let (done, _outcome) = oneshot::channel();
        let mut job = Job::new(outgoing, 0, done).unwrap();
        assert_eq!(job.not_sent("").kind(), TransportErrorKind::Unreachable);
        job.take_parts().unwrap();
        let error = job.not_sent("RabbitMQ is away");
        assert_eq!(error.kind(), TransportErrorKind::TimedOut);
        assert!(error.to_string().contains("may have arrived"), "{error}");
        assert!(error.to_string().contains("RabbitMQ is away"), "{error}");
    }
}
