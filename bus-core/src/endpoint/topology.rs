//! The topology that is declared for endpoints.

use std::any::TypeId;
use std::sync::Arc;

use crate::endpoint::Endpoint;
use crate::topology::{
    Binding, Exchange, Node, Presence, PublishTopologies, Queue, QueueKind, Topology, all_keys,
    declared, error_queue_name, skipped_queue_name,
};

/// Delivery limit of an error queue, past which the broker drops a message.
///
/// It is very large because looking at a message counts as a return.
const KEPT_DELIVERY_LIMIT: u32 = 1_000_000;

/// Everything that an endpoint needs on the broker.
#[derive(Clone, Debug)]
pub(crate) struct EndpointTopology {
    /// Topology declared at start, and again after a loss.
    pub(crate) main: Arc<Topology>,
    /// Topology declared when the first message fails.
    pub(crate) error: Arc<Topology>,
    /// Topology declared when the first message is skipped.
    pub(crate) skipped: Arc<Topology>,
}

impl EndpointTopology {
    pub(crate) fn new(
        endpoint: &Endpoint,
        bus_kind: QueueKind,
        topologies: &PublishTopologies,
    ) -> Self {
        let queue = endpoint.queue(bus_kind);
        let error = kept(error_queue_name(&endpoint.name), &queue);
        let skipped = kept(skipped_queue_name(&endpoint.name), &queue);
        let dead_letters = queue.dead_letters_to_error_queue();
        let mut main = own(queue);
        if dead_letters {
            // The broker moves messages there by itself, and drops what it cannot route.
            main.merge(error.clone());
        }
        for tapped in &endpoint.taps {
            main.merge(Topology {
                exchanges: vec![Exchange::fanout(tapped)],
                bindings: vec![Binding::new(tapped, Node::Exchange(endpoint.name.clone()))],
                ..Topology::default()
            });
        }
        if endpoint.subscribes {
            for (type_id, contract) in endpoint
                .contracts()
                .filter(|(id, _)| !endpoint.unsubscribed.contains(id))
            {
                for name in std::iter::once(&contract.message_type).chain(&contract.aliases) {
                    main.merge(subscribed(endpoint, type_id, &topologies.exchange_of(name)));
                }
            }
        }
        main.bindings.extend(endpoint.bindings.iter().cloned());
        Self {
            main: Arc::new(main),
            error: Arc::new(error),
            skipped: Arc::new(skipped),
        }
    }
}

/// Builds the endpoint's queue, and the exchange of the same name.
///
/// Everything reaches the queue through this exchange.
fn own(queue: Queue) -> Topology {
    let name = queue.name.clone();
    let exchange = Exchange {
        durable: queue.durable,
        auto_delete: queue.is_temporary(),
        ..Exchange::fanout(&name)
    };
    Topology {
        exchanges: vec![exchange],
        bindings: vec![Binding::new(&name, Node::Queue(name.clone()))],
        queues: vec![queue],
    }
}

/// Builds a queue that keeps what the endpoint could not handle.
///
/// A queue that exists is used as it is: MassTransit may have made it.
fn kept(name: String, of: &Queue) -> Topology {
    let mut queue = Queue {
        presence: Presence::IfMissing,
        ..Queue::classic(name.clone())
    };
    if of.kind == QueueKind::Quorum {
        queue.kind = QueueKind::Quorum;
        queue.delivery_limit = of.delivery_limit.map(|_| KEPT_DELIVERY_LIMIT);
    } else {
        queue.max_priority = of.max_priority;
    }
    let exchange = Exchange {
        presence: Presence::IfMissing,
        ..Exchange::fanout(name.clone())
    };
    let binding = Binding::new(name.clone(), Node::Queue(name));
    Topology {
        exchanges: vec![exchange],
        queues: vec![queue],
        bindings: vec![binding],
    }
}

/// Builds an exchange, and its bindings to the endpoint's own.
fn subscribed(endpoint: &Endpoint, type_id: TypeId, exchange: &Exchange) -> Topology {
    let bound = || Binding::new(exchange.name.clone(), Node::Exchange(endpoint.name.clone()));
    let mut bindings: Vec<_> = endpoint
        .subscriptions
        .iter()
        .filter(|subscription| subscription.type_id == type_id)
        .map(|subscription| Binding {
            arguments: subscription.arguments.clone(),
            ..bound().routing_key(subscription.key.clone())
        })
        .collect();
    if bindings.is_empty() {
        bindings.push(bound().routing_key(all_keys(exchange.kind)));
    }
    Topology {
        bindings,
        ..declared(exchange)
    }
}
