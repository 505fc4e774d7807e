//! Ids of what a consumer sends: the same whenever its message is handled again.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::message::Envelope;
use crate::transport::Incoming;

/// Derives the ids of what one attempt sends, or what runs around all attempts.
///
/// An id is the UUID of version 5 of the endpoint, the message's type and the number of messages of
/// that type that the attempt has sent before it, in the namespace of the incoming message's id. An
/// attempt that runs again, as the first one failed or was not acknowledged, so gives its messages
/// the ids that they had, and a consumer that handles each id once handles them once.
#[derive(Debug, Default)]
pub(crate) struct SentIds {
    /// Distinguishes what runs around the attempts from them: both count on their own.
    is_around: bool,
    counts: Mutex<Vec<(Cow<'static, str>, u32)>>,
}

impl SentIds {
    /// The ids of what runs around all attempts.
    pub(crate) fn around() -> Self {
        Self {
            is_around: true,
            ..Self::default()
        }
    }

    /// The id of the next message of this type.
    pub(crate) fn next(&self, origin: Uuid, endpoint: &str, urn: Cow<'static, str>) -> Uuid {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = counts.iter().position(|(known, _)| *known == urn);
        let index = known.unwrap_or_else(|| {
            counts.push((urn, 0));
            counts.len() - 1
        });
        let (urn, number) = &mut counts[index];
        let step = if self.is_around { "around" } else { "attempt" };
        let name = format!("{endpoint}\0{step}\0{urn}\0{number}");
        *number += 1;
        Uuid::new_v5(&origin, name.as_bytes())
    }
}

/// The id from which ids are derived: that of the envelope, else of the transport.
/// `None` if the message has neither.
pub(crate) fn origin_id(envelope: &Envelope, incoming: &Incoming) -> Option<Uuid> {
    envelope.message_id.or_else(|| {
        let text = incoming.identity()?;
        Some(Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_runs_again_gives_the_same_ids() {
        let ids = |origin, endpoint| {
            let ids = SentIds::default();
            ["a", "b", "a"].map(|urn| ids.next(origin, endpoint, Cow::Borrowed(urn)))
        };
        let one = Uuid::from_u128(1);
        assert_eq!(ids(one, "orders"), ids(one, "orders"));
        let [first, other, second] = ids(one, "orders");
        assert!(first != second && first != other && second != other);
        assert_ne!(ids(one, "orders"), ids(one, "billing"));
        assert_ne!(ids(one, "orders"), ids(Uuid::from_u128(2), "orders"));
    }

    #[test]
    fn middleware_and_consumer_share_no_id() {
        let (around, attempt) = (SentIds::around(), SentIds::default());
        let id = |ids: &SentIds| ids.next(Uuid::from_u128(1), "orders", Cow::Borrowed("a"));
        assert_ne!(id(&around), id(&attempt));
    }

    #[test]
    fn an_id_of_the_transport_does_as_well() {
        let incoming = Incoming {
            message_id: Some("no uuid".to_owned()),
            ..Incoming::default()
        };
        let envelope = Envelope::default();
        let id = origin_id(&envelope, &incoming);
        assert!(id.is_some());
        assert_eq!(id, origin_id(&envelope, &incoming));
        assert_eq!(origin_id(&envelope, &Incoming::default()), None);
    }

    #[test]
    fn an_id_that_names_nothing_gives_none() {
        for blank in ["", " ", "00000000-0000-0000-0000-000000000000"] {
            let incoming = Incoming {
                message_id: Some(blank.to_owned()),
                ..Incoming::default()
            };
            assert_eq!(
                origin_id(&Envelope::default(), &incoming),
                None,
                "{blank:?}"
            );
        }
    }
}
