//! The queue on which a process gets the replies to its requests.

use std::time::Duration;

use super::Address;
use crate::topology::{Binding, Exchange, Node, Queue, Topology};

/// Time for which a broker keeps the queue without its process's connection.
const EXPIRES: Duration = Duration::from_secs(60);

/// Queue of one process for the replies to its requests.
///
/// The first request of a bus declares and consumes it.
///
/// ```
/// use bus_core::transport::ReplyInbox;
///
/// let inbox = ReplyInbox::exclusive("host_app_bus_1");
/// assert_eq!(inbox.queue, "host_app_bus_1");
/// assert_eq!(inbox.address.to_uri("rabbitmq://h/"), "rabbitmq://h/host_app_bus_1?temporary=true");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ReplyInbox {
    /// Address for replies, and source of what the process sends outside of consumers.
    ///
    /// It travels as `responseAddress` and `sourceAddress`. A responder sends to it without
    /// declaring anything.
    pub address: Address,
    /// Name of the queue to consume.
    pub queue: String,
    /// Entities to declare before, and again after a loss.
    pub topology: Topology,
}

impl ReplyInbox {
    /// Creates MassTransit's inbox: an exclusive queue behind an exchange.
    ///
    /// The queue is deleted with the connection of its process, the exchange with the queue.
    pub fn exclusive(name: &str) -> Self {
        // A responder of MassTransit declares the same before it answers, and would be refused if
        // this differed.
        let queue = Queue {
            durable: false,
            exclusive: true,
            expires: Some(EXPIRES),
            ..Queue::classic(name)
        };
        let exchange = Exchange {
            durable: false,
            auto_delete: true,
            ..Exchange::fanout(name)
        };
        let binding = Binding::new(name, Node::Queue(name.to_owned()));
        Self {
            address: Address::temporary(name.to_owned()),
            queue: name.to_owned(),
            topology: Topology {
                exchanges: vec![exchange],
                queues: vec![queue],
                bindings: vec![binding],
            },
        }
    }
}
