//! Reading of a delivery: its metadata, its message, and the consumer for it.

use std::sync::Arc;

use tracing::Span;

use super::outcome::Undone;
use super::receiver::Receiver;
use super::watched;
use crate::codec::{Codec, DecodeError};
use crate::consume::{AnyMessage, Progress, RawMessage, ReceiveContext, Registration, Slot};
use crate::error::{ConsumeError, panics};
use crate::message::Envelope;
use crate::observe::propagator::extract;
use crate::transport::Incoming;

impl Receiver {
    /// Reads the metadata; a body that cannot be read has none.
    pub(super) fn read(
        &self,
        incoming: Incoming,
        slot: Slot,
    ) -> (Arc<ReceiveContext>, Result<Codec, DecodeError>, Span) {
        let read = Codec::for_incoming(&incoming, self.endpoint.codec)
            .and_then(|codec| Ok((codec, codec.decode(&incoming)?)));
        let (codec, envelope) = match read {
            Ok((codec, envelope)) => (Ok(codec), envelope),
            Err(error) => (
                Err(error),
                Envelope {
                    message: incoming.body.clone(),
                    ..Envelope::default()
                },
            ),
        };
        let endpoint = Arc::clone(&self.endpoint);
        let span = watched::span(&envelope, &endpoint.name);
        let trace = extract(endpoint.outbound.propagator(), &envelope.headers, &span);
        let received = ReceiveContext {
            incoming,
            envelope,
            endpoint,
            trace,
            progress: Progress::default(),
            slot,
        };
        (Arc::new(received), codec, span)
    }

    /// Finds the consumer of a message, and decodes the message for it.
    pub(super) fn prepare(
        &self,
        received: &ReceiveContext,
        codec: Result<Codec, DecodeError>,
    ) -> Result<(&Registration, Arc<AnyMessage>), Undone<'_>> {
        let envelope = &received.envelope;
        let codec = match codec {
            Ok(codec) => codec,
            // A consumer of everything also gets what is no envelope.
            Err(error) => {
                let any = self.consumers.any();
                let any = any.ok_or_else(|| Undone::of(ConsumeError::permanent(error), None))?;
                return Ok((any, Arc::new(RawMessage::new(envelope.message.clone()))));
            }
        };
        let found = self.consumers.find(codec, envelope);
        let found = found.map_err(|error| Undone::of(error, None))?;
        let registration = found.ok_or(Undone::Skipped)?;
        // A contract's `Deserialize` may panic.
        let decoded = panics::caught(|| registration.handler.decode(envelope))
            .map_err(|panic| ConsumeError::panicked(&panic))
            .and_then(|decoded| decoded.map_err(ConsumeError::permanent));
        match decoded {
            Ok(message) => Ok((registration, message)),
            Err(error) => Err(Undone::of(error, Some(registration))),
        }
    }
}
