//! JSON of values of the framework's own that a store keeps.

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::topology::Topology;

/// Namespace of the ids of topologies.
const TOPOLOGIES: Uuid = Uuid::from_u128(0x5d0c_8a51_8f0e_5c2b_9f57_3f1f_5b6c_2d94);

/// Member of a stored value that cannot be read, and the reason.
pub(crate) struct Misfit {
    pub(crate) member: String,
    pub(crate) reason: String,
}

/// Writes a value whose `Serialize` cannot fail.
pub(crate) fn to_stored<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("text, numbers, lists and maps with text keys")
}

/// Reads a value; the member is `.` for the value itself.
pub(crate) fn from_stored<T: DeserializeOwned>(json: &str) -> Result<T, Misfit> {
    let mut reader = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| Misfit {
        member: error.path().to_string(),
        reason: error.into_inner().to_string(),
    })
}

impl Topology {
    /// Returns an id of the content: equal topologies have the same one.
    ///
    /// It is a UUID of version 5 of the topology's JSON, the same in every process of one release.
    /// For stores that keep a topology once for all messages that need it.
    pub fn fingerprint(&self) -> Uuid {
        Uuid::new_v5(&TOPOLOGIES, to_stored(self).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::message::HeaderValue;
    use crate::topology::{Binding, Exchange, ExchangeKind, Node, Overflow, Queue};

    fn topology() -> Topology {
        let queue = Queue::quorum("orders")
            .message_ttl(Duration::from_millis(1500))
            .max_length(u64::MAX, Overflow::RejectPublish)
            .argument("x-bytes", HeaderValue::Bytes(vec![0, 255]));
        let mut binding = Binding::new("orders", Node::Queue("orders".to_owned()));
        let arguments = &mut binding.arguments;
        arguments.insert("since".to_owned(), HeaderValue::Timestamp(-7));
        Topology {
            exchanges: vec![Exchange::new("orders", ExchangeKind::Headers)],
            queues: vec![queue],
            bindings: vec![binding],
        }
    }

    #[test]
    fn a_topology_survives_its_json() {
        let read: Topology = from_stored(&to_stored(&topology())).ok().unwrap();
        assert_eq!(read, topology());
        assert_eq!(read.fingerprint(), topology().fingerprint());
    }

    #[test]
    fn a_topology_of_other_content_has_another_fingerprint() {
        let mut other = topology();
        other.queues[0].durable = false;
        assert_ne!(other.fingerprint(), topology().fingerprint());
    }

    #[test]
    fn a_fingerprint_stays_what_it_was_in_stores() {
        let topology = Topology {
            exchanges: vec![Exchange::fanout("Orders:Placed")],
            ..Topology::default()
        };
        let expected = "b897acdd-19c0-5274-9d6d-53e0400146d4";
        assert_eq!(topology.fingerprint().to_string(), expected);
    }
}
