//! What a topology says of its queues is what the broker does.

use std::collections::BTreeSet;

use bus_core::Headers;
use bus_core::message::HeaderValue;
use bus_core::topology::{Binding, Exchange, ExchangeKind, Node, Queue, Topology};
use bus_core::transport::{Outgoing, Transport};
use bus_inmemory::InMemory;
use futures_util::FutureExt;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::support::{arguments, to_exchange};

const EXCHANGES: [&str; 4] = ["e0", "e1", "e2", "e3"];
const QUEUES: [&str; 3] = ["q0", "q1", "q2"];

fn bindings() -> impl Strategy<Value = Binding> {
    let to_exchange = select(&EXCHANGES[..]).prop_map(|name| Node::Exchange(name.to_owned()));
    let to_queue = select(&QUEUES[..]).prop_map(|name| Node::Queue(name.to_owned()));
    let keys = select(vec!["", "a", "b", "a.b", "*", "*.b", "a.#", "#"]);
    let north = ("region", HeaderValue::from("north"));
    let gold = ("tier", HeaderValue::from("gold"));
    let any = ("x-match", HeaderValue::from("any"));
    let wanted = select(vec![
        arguments([]),
        arguments([north.clone()]),
        arguments([gold.clone()]),
        arguments([north.clone(), gold.clone()]),
        arguments([any, north, gold]),
    ]);
    let to = prop_oneof![2 => to_exchange, 1 => to_queue];
    (select(&EXCHANGES[..]), to, keys, wanted).prop_map(|(source, to, key, arguments)| Binding {
        arguments,
        ..Binding::new(source, to).routing_key(key)
    })
}

fn topologies() -> impl Strategy<Value = Topology> {
    let kinds = vec![
        ExchangeKind::Fanout,
        ExchangeKind::Direct,
        ExchangeKind::Topic,
        ExchangeKind::Headers,
    ];
    let kinds = vec(select(kinds), EXCHANGES.len());
    (kinds, vec(bindings(), 0..14)).prop_map(|(kinds, bindings)| Topology {
        exchanges: EXCHANGES
            .into_iter()
            .zip(kinds)
            .map(|(name, kind)| Exchange::new(name, kind))
            .collect(),
        queues: QUEUES.into_iter().map(Queue::classic).collect(),
        bindings,
    })
}

fn headers() -> impl Strategy<Value = Headers> {
    let region = proptest::option::of(select(vec![("region", "north"), ("region", "south")]));
    let tier = proptest::option::of(Just(("tier", "gold")));
    (region, tier).prop_map(|(region, tier)| region.into_iter().chain(tier).collect())
}

/// The queues that get a message from a broker with nothing but this topology.
fn delivered(topology: &Topology, outgoing: Outgoing) -> BTreeSet<&'static str> {
    let broker = InMemory::new();
    broker.declare(topology).now_or_never().unwrap().unwrap();
    broker.send(outgoing).now_or_never().unwrap().unwrap();
    let got = |queue: &&str| match broker.waiting(queue).unwrap() {
        0 => false,
        1 => true,
        more => panic!("{queue} got it {more} times"),
    };
    QUEUES.into_iter().filter(got).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_message_arrives_at_exactly_the_queues_that_subscribe(
        topology in topologies(),
        key in select(vec!["", "a", "b", "a.b", "c.b", "a.b.c"]),
        headers in headers(),
    ) {
        let subscriptions = topology.subscriptions();
        for source in EXCHANGES {
            let of_source = subscriptions.iter().filter(|one| one.source == source);
            let listed: Vec<_> = of_source.clone().map(|one| one.queue.as_str()).collect();
            let unique: BTreeSet<_> = listed.iter().copied().collect();
            prop_assert_eq!(listed.len(), unique.len(), "one entry for each queue");
            let expected: BTreeSet<_> = of_source
                .filter(|one| one.filter.matches(key, &headers))
                .map(|one| one.queue.as_str())
                .collect();
            let outgoing = Outgoing { headers: headers.clone(), ..to_exchange(source, key, "") };
            prop_assert_eq!(delivered(&topology, outgoing), expected, "from {}", source);
        }
    }
}
