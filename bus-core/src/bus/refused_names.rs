//! Names of a configuration that its transport does not take.

use std::collections::BTreeSet;

use crate::endpoint::Endpoint;
use crate::message::MessageType;
use crate::topology::{PublishTopologies, error_queue_name, skipped_queue_name};
use crate::transport::{Address, InvalidName, Target, Transport};

/// Returns the mistakes in the names of what a bus declares.
pub(super) fn mistakes(
    endpoints: &[Endpoint],
    topologies: &PublishTopologies,
    transport: &dyn Transport,
) -> Vec<String> {
    let mut mistakes = Vec::new();
    for endpoint in endpoints {
        let found = of_endpoint(endpoint, topologies, transport);
        let place = |mistake| format!("endpoint `{}`: {mistake}", endpoint.name);
        mistakes.extend(found.into_iter().map(place));
    }
    let published = topologies.exchanges();
    let names = published.flat_map(|exchange| [Some(exchange.name), exchange.alternate]);
    let refused = names
        .flatten()
        .filter_map(|name| transport.check_name(&name).err());
    mistakes.extend(refused.map(|error| format!("publish_topology: {error}")));
    mistakes
}

/// Returns the error of a queue to which a type is routed.
///
/// An exchange of a route is never declared, so it may have any name.
pub(super) fn of_route(address: &Address, transport: &dyn Transport) -> Option<InvalidName> {
    match address.target() {
        Target::Queue(name) => transport.check_name(&name).err(),
        Target::Exchange { .. } | Target::Inbox(_) => None,
    }
}

fn of_endpoint(
    endpoint: &Endpoint,
    topologies: &PublishTopologies,
    transport: &dyn Transport,
) -> BTreeSet<String> {
    let check = |name: &str| transport.check_name(name).err();
    let name = &endpoint.name;
    // One of them says enough.
    let own = check(name)
        .or_else(|| check(&error_queue_name(name)))
        .or_else(|| check(&skipped_queue_name(name)));
    let taps = endpoint.taps.iter().filter_map(|tapped| check(tapped));
    let of_types = types(endpoint).filter_map(|message_type| {
        let error = check(&topologies.exchange_of(message_type).name)?;
        Some(format!("the exchange of {message_type}: {error}"))
    });
    let own = own.into_iter().chain(taps).map(|error| error.to_string());
    own.chain(of_types).collect()
}

/// Returns the types whose exchanges an endpoint binds, and those of its faults.
fn types(endpoint: &Endpoint) -> impl Iterator<Item = &MessageType> {
    let subscribed = endpoint
        .contracts()
        .filter(|(id, _)| endpoint.subscribes && !endpoint.unsubscribed.contains(id))
        .flat_map(|(_, contract)| std::iter::once(&contract.message_type).chain(&contract.aliases));
    let faults = endpoint
        .registrations
        .iter()
        .filter(|_| !endpoint.is_tap())
        .flat_map(|registration| &registration.fault_types);
    subscribed.chain(faults)
}
