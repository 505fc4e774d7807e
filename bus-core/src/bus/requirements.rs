//! Capabilities that a configuration needs, beside those that its transport claims.

use crate::endpoint::{Endpoint, Policy};
use crate::topology::{Exchange, ExchangeKind, Queue, QueueKind};
use crate::transport::{Capabilities, Capability};

/// Returns the mistake of an endpoint that needs what the transport does not claim.
pub(super) fn of_endpoint(
    endpoint: &Endpoint,
    bus: &Policy,
    bus_kind: QueueKind,
    claimed: Capabilities,
) -> Option<String> {
    let mut needs: Vec<_> = of_queue(&endpoint.queue(bus_kind)).collect();
    if endpoint.exclusive_consumer {
        needs.push(Capability::ExclusiveConsumers);
    }
    if endpoint.consumer_priority.is_some() {
        needs.push(Capability::ConsumerPriorities);
    }
    needs.extend(&endpoint.needs);
    let redeliveries = endpoint.policy.clone().over(bus).redeliveries;
    if redeliveries.iter().any(|policy| policy.limit() > 0) {
        needs.push(Capability::DelayedDelivery);
    }
    mistake(&format!("endpoint `{}`", endpoint.name), &needs, claimed)
}

/// Returns the mistake of an exchange that needs what the transport does not claim.
pub(super) fn of_published(exchange: &Exchange, claimed: Capabilities) -> Option<String> {
    let needs: Vec<_> = of_exchange(exchange).collect();
    mistake(&format!("exchange `{}`", exchange.name), &needs, claimed)
}

fn mistake(subject: &str, needs: &[Capability], claimed: Capabilities) -> Option<String> {
    let missing = needs.iter().filter(|need| !claimed.has(**need));
    let missing: Vec<_> = missing.map(ToString::to_string).collect();
    (!missing.is_empty()).then(|| {
        format!(
            "{subject}: this transport has no {}; leave them out, or use another transport",
            missing.join(", no ")
        )
    })
}

fn of_queue(queue: &Queue) -> impl Iterator<Item = Capability> {
    let kind = match queue.kind {
        QueueKind::Classic => None,
        QueueKind::Quorum => Some(Capability::QuorumQueues),
        QueueKind::Stream => Some(Capability::Streams),
    };
    let settings = [
        (queue.max_priority.is_some(), Capability::Priorities),
        (queue.message_ttl.is_some(), Capability::MessageTtl),
        (queue.max_length.is_some(), Capability::QueueLimits),
        (
            queue.single_active_consumer,
            Capability::SingleActiveConsumer,
        ),
    ];
    let settings = settings.into_iter().filter(|(is_set, _)| *is_set);
    kind.into_iter()
        .chain(settings.map(|(_, capability)| capability))
}

fn of_exchange(exchange: &Exchange) -> impl Iterator<Item = Capability> {
    let kind = match exchange.kind {
        ExchangeKind::Fanout => None,
        ExchangeKind::Direct | ExchangeKind::Topic => Some(Capability::RoutingKeys),
        ExchangeKind::Headers => Some(Capability::HeadersExchanges),
    };
    let alternate = exchange.alternate.is_some();
    kind.into_iter()
        .chain(alternate.then_some(Capability::AlternateExchanges))
}
