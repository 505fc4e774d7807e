//! Reports of one message that is sent, to observers and the log.

use std::time::Duration;

use tokio::time::Instant;
use tracing::Span;

use crate::error::{SendError, SendErrorKind};
use crate::message::{Envelope, Intent};
use crate::observe::{Observers, PostSend, PreSend, SendFault};
use crate::transport::{Outgoing, Target};

/// The span of a message on its way to the broker.
pub(super) fn span(envelope: &Envelope, target: &Target) -> Span {
    tracing::debug_span!(
        "send",
        message_type = envelope.message_type(),
        message_id = envelope.message_id.map(tracing::field::display),
        conversation_id = envelope.conversation_id.map(tracing::field::display),
        destination = target.name(),
    )
}

/// A message on its way, whose end is reported even if its sender stops waiting.
#[derive(Debug)]
pub(super) struct SendWatch {
    observers: Observers,
    envelope: Envelope,
    intent: Intent,
    target: Target,
    body_size: usize,
    since: Instant,
    has_ended: bool,
}

impl SendWatch {
    /// Reports the begin; `None` if there is no observer.
    pub(super) fn begin(
        observers: &Observers,
        envelope: Envelope,
        intent: Intent,
        outgoing: &Outgoing,
    ) -> Option<Box<Self>> {
        if observers.is_empty() {
            return None;
        }
        let watch = Self {
            observers: observers.clone(),
            envelope,
            intent,
            target: outgoing.target.clone(),
            body_size: outgoing.body.len(),
            since: Instant::now(),
            has_ended: false,
        };
        let sending = PreSend {
            envelope: &watch.envelope,
            intent,
            target: &watch.target,
            body_size: watch.body_size,
        };
        observers.tell(|observer| observer.pre_send(&sending));
        Some(Box::new(watch))
    }

    /// Reports the end.
    pub(super) fn end(mut self: Box<Self>, outcome: &Result<(), SendError>) {
        self.has_ended = true;
        let elapsed = self.since.elapsed();
        match outcome {
            Ok(()) => self.sent(elapsed),
            Err(error) => self.failed(elapsed, error),
        }
    }

    fn sent(&self, elapsed: Duration) {
        let sent = PostSend {
            envelope: &self.envelope,
            intent: self.intent,
            target: &self.target,
            body_size: self.body_size,
            elapsed,
        };
        self.observers.tell(|observer| observer.post_send(&sent));
    }

    fn failed(&self, elapsed: Duration, error: &SendError) {
        let failed = SendFault {
            envelope: &self.envelope,
            intent: self.intent,
            target: &self.target,
            body_size: self.body_size,
            elapsed,
            error,
        };
        self.observers.tell(|observer| observer.send_fault(&failed));
    }
}

impl Drop for SendWatch {
    fn drop(&mut self) {
        if !self.has_ended {
            let text = "the sender stopped waiting for the confirm";
            let error = SendError::new(SendErrorKind::TimedOut, text);
            self.failed(self.since.elapsed(), &error);
        }
    }
}
