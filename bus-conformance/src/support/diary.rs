//! Observer that writes down what it hears.

use std::any::Any;
use std::sync::{Arc, Mutex};

use bus_core::observe::{
    ConnectionChange, ConsumeFault, EndpointChange, FaultPublished, Observer, PostConsume,
    PostReceive, PostSend, PreConsume, PreReceive, PreSend, ReceiveOutcome, SendFault,
};

use super::contracts::Place;
use bus_core::transport::Health;

/// Calls of an observer, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    pub(crate) fn note(&self, line: String) {
        self.0.lock().expect("no panic").push(line);
    }

    pub(crate) fn of(&self, topic: &str) -> Vec<String> {
        let lines = self.0.lock().expect("no panic");
        let told = lines.iter().filter(|line| line.starts_with(topic));
        told.cloned().collect()
    }
}

fn number(message: &(dyn Any + Send + Sync)) -> Option<u32> {
    message.downcast_ref().map(|place: &Place| place.number)
}

impl Observer for Diary {
    fn pre_send(&self, send: &PreSend<'_>) {
        let urn = send.envelope.message_type().unwrap_or_default();
        self.note(format!("sending {:?} {urn}", send.intent));
    }

    fn post_send(&self, sent: &PostSend<'_>) {
        assert!(sent.body_size > 0 && sent.envelope.destination_address.is_some());
        let urn = sent.envelope.message_type().unwrap_or_default();
        self.note(format!("sent {:?} {urn}", sent.intent));
    }

    fn send_fault(&self, failed: &SendFault<'_>) {
        let (target, kind) = (failed.target.name(), failed.error.kind());
        self.note(format!("unsent {:?} to {target}: {kind:?}", failed.intent));
    }

    fn pre_receive(&self, received: &PreReceive<'_>) {
        assert!(received.body_size > 0);
        self.note(format!("received on {}", received.endpoint));
    }

    fn post_receive(&self, ended: &PostReceive<'_>) {
        let number = ended.message.and_then(number);
        let outcome = match ended.outcome {
            ReceiveOutcome::Faulted(error) => format!("faulted {error}"),
            ReceiveOutcome::Requeued(Some(error)) => format!("requeued {:?}", error.kind()),
            other => format!("{other:?}").to_lowercase(),
        };
        let attempts = ended.attempts;
        self.note(format!("ended {number:?} {outcome} after {attempts}"));
    }

    fn pre_consume(&self, begun: &PreConsume<'_>) {
        let number = number(begun.message);
        self.note(format!("attempt {} of {number:?} begins", begun.attempt));
    }

    fn post_consume(&self, done: &PostConsume<'_>) {
        let number = number(done.message);
        self.note(format!("attempt {} of {number:?} succeeds", done.attempt));
    }

    fn consume_fault(&self, failed: &ConsumeFault<'_>) {
        let (number, kind) = (number(failed.message), failed.error.kind());
        let attempt = failed.attempt;
        self.note(format!("attempt {attempt} of {number:?} ends: {kind:?}"));
    }

    fn fault_published(&self, fault: &FaultPublished<'_>) {
        let urn = fault.fault.message_type().unwrap_or_default();
        let kind = fault.error.kind();
        self.note(format!("fault of {}: {kind:?} as {urn}", fault.endpoint));
    }

    fn connection_changed(&self, change: &ConnectionChange<'_>) {
        let is_up = *change.health == Health::Up;
        self.note(format!("connection is up: {is_up}"));
    }

    fn endpoint_changed(&self, change: &EndpointChange<'_>) {
        self.note(format!("state {:?} to {:?}", change.previous, change.state));
    }
}
