//! Routing by key, by header, and from exchange to exchange.

use bus_core::message::Intent;
use bus_core::topology::PublishTopology;
use bus_core::topology::{Binding, Exchange, Node, Topology};
use bus_core::{BusBuilder, Endpoint, Fault};

use super::faults::fault_of;
use crate::support::contracts::{Cancelled, LAST, Ordered, Place};
use crate::support::fixture::serial;
use crate::support::{Outcome, Recorder, numbers, with};
use crate::test_broker::TestBroker;

type Topologies = PublishTopology<Ordered>;

/// A bus on which `Ordered` has an exchange of another kind.
fn bus_with(broker: &dyn TestBroker, topology: Topologies) -> BusBuilder {
    broker
        .bus()
        .publish_topology(topology.entity_name(broker.name("keyed")))
}

/// A direct exchange delivers by key, and the consumer sees the key.
async fn a_direct_exchange_delivers_by_key(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let endpoint = serial(broker.name("alpha"))
        .subscribe::<Ordered>("alpha")
        .consumer(seen.clone());
    let bus = bus_with(broker, Topologies::direct())
        .endpoint(endpoint)
        .start()
        .await?;
    for (key, number) in [
        ("beta", 1),
        ("alpha", 2),
        ("", 3),
        ("alpha.1", 4),
        ("alpha", LAST),
    ] {
        bus.publish(&Ordered { number }).routing_key(key).await?;
    }
    let calls = seen.until_last().await;
    assert_eq!(numbers(&calls), [2]);
    assert_eq!(calls[0].incoming().routing_key, "alpha");
    bus.shutdown().await?;
    Ok(())
}

/// In topic patterns `*` is exactly one word and `#` any number of them.
async fn topic_patterns_match_words(broker: &dyn TestBroker) -> Outcome {
    let (one, any) = (Recorder::<Ordered>::new(), Recorder::<Ordered>::new());
    let endpoint = |name: &str, pattern: &str, seen: &Recorder<Ordered>| {
        serial(broker.name(name))
            .subscribe::<Ordered>(pattern)
            .subscribe::<Ordered>("last")
            .consumer(seen.clone())
    };
    let bus = bus_with(broker, Topologies::topic())
        .endpoint(endpoint("one", "eu.*", &one))
        .endpoint(endpoint("any", "eu.#", &any))
        .start()
        .await?;
    for (key, number) in [
        ("eu", 1),
        ("eu.de", 2),
        ("eu.de.be", 3),
        ("us.de", 4),
        ("last", LAST),
    ] {
        bus.publish(&Ordered { number }).routing_key(key).await?;
    }
    assert_eq!(numbers(&one.until_last().await), [2]);
    assert_eq!(numbers(&any.until_last().await), [1, 2, 3]);
    bus.shutdown().await?;
    Ok(())
}

/// A subscription without a key to a topic exchange gets everything.
async fn a_topic_subscription_without_a_key_gets_everything(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let endpoint = Endpoint::new(broker.name("all")).consumer(seen.clone());
    let bus = bus_with(broker, Topologies::topic())
        .endpoint(endpoint)
        .start()
        .await?;
    for (key, number) in [("", 1), ("a", 2), ("a.b", 3)] {
        bus.publish(&Ordered { number }).routing_key(key).await?;
    }
    assert_eq!(numbers(&seen.take(3).await), [1, 2, 3]);
    bus.shutdown().await?;
    Ok(())
}

/// The key that the topology computes is used, unless the publisher names one.
async fn the_routing_key_comes_from_the_message(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let topology = Topologies::direct().routing_key(|event| event.number.to_string());
    let endpoint = Endpoint::new(broker.name("seven"))
        .subscribe::<Ordered>("7")
        .consumer(seen.clone());
    let bus = bus_with(broker, topology)
        .endpoint(endpoint)
        .start()
        .await?;
    bus.publish(&Ordered { number: 6 }).await?;
    bus.publish(&Ordered { number: 7 }).await?;
    bus.publish(&Ordered { number: 8 }).routing_key("7").await?;
    assert_eq!(numbers(&seen.take(2).await), [7, 8]);
    bus.shutdown().await?;
    Ok(())
}

/// A headers exchange delivers to those whose conditions hold: all of them, or any
/// where `x-match` says so.
async fn a_headers_exchange_delivers_by_header_values(broker: &dyn TestBroker) -> Outcome {
    let (all, any) = (Recorder::<Ordered>::new(), Recorder::<Ordered>::new());
    let conditions = |how: &str| {
        [("x-match", how), ("Tenant", "north"), ("Size", "big")]
            .map(|(name, value)| (name.to_owned(), value.into()))
    };
    let endpoint = |name: &str, seen: &Recorder<Ordered>| {
        serial(broker.name(name))
            .subscribe_where::<Ordered>(conditions(name))
            .consumer(seen.clone())
    };
    let bus = bus_with(broker, Topologies::headers())
        .endpoint(endpoint("all", &all))
        .endpoint(endpoint("any", &any))
        .start()
        .await?;
    for (number, headers) in [
        (1, vec![("Tenant", "north")]),
        (2, vec![("Tenant", "north"), ("Size", "big"), ("More", "x")]),
        (3, vec![("Tenant", "south"), ("Size", "small")]),
        (4, vec![]),
        (LAST, vec![("Tenant", "north"), ("Size", "big")]),
    ] {
        let event = Ordered { number };
        let sending = bus.publish(&event);
        headers
            .into_iter()
            .fold(sending, |sending, (name, value)| {
                sending.header(name, value)
            })
            .await?;
    }
    assert_eq!(numbers(&all.until_last().await), [2]);
    assert_eq!(numbers(&any.until_last().await), [1, 2]);
    bus.shutdown().await?;
    Ok(())
}

/// An exchange bound to an exchange bound to an endpoint delivers once, and only
/// with the right key.
async fn bindings_lead_from_exchange_to_exchange(broker: &dyn TestBroker) -> Outcome {
    let (outer, inner, queue) = (
        broker.name("outer"),
        broker.name("inner"),
        broker.name("end"),
    );
    let wire = broker.wire().await;
    let direct = Exchange::new(&outer, bus_core::topology::ExchangeKind::Direct);
    wire.declare(&Topology {
        exchanges: vec![direct, Exchange::fanout(&inner)],
        bindings: vec![Binding::new(&outer, Node::Exchange(inner.clone())).routing_key("in")],
        ..Topology::default()
    })
    .await;
    let seen = Recorder::<Place>::new();
    let endpoint = serial(&queue)
        .bind(Binding::new(&inner, Node::Exchange(queue.clone())))
        .consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    for (key, number) in [("out", 1), ("in", 2), ("in", LAST)] {
        let address = format!("exchange:{outer}");
        bus.send_to(address, &Place { number })
            .routing_key(key)
            .await?;
    }
    assert_eq!(numbers(&seen.until_last().await), [2]);
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// Events without subscribers land in the alternate exchange, also those of a
/// consumer.
async fn an_alternate_exchange_receives_what_has_no_subscriber(broker: &dyn TestBroker) -> Outcome {
    let stray = broker.name("stray");
    let topology = || {
        PublishTopology::<Cancelled>::fanout()
            .entity_name(broker.name("lonely"))
            .alternate_exchange(stray.clone())
    };
    let seen = Recorder::<Cancelled>::new();
    let strays = Endpoint::new(&stray)
        .without_subscriptions()
        .consumer(seen.clone());
    let relay = Endpoint::new(broker.name("relay")).consumer(with(
        (),
        |(), ctx: bus_core::ConsumeContext<Ordered>| async move {
            let number = ctx.message().number;
            Ok(ctx.publish(&Cancelled { number }).await?)
        },
    ));
    let bus = broker
        .bus()
        .publish_topology(topology())
        .endpoint(strays)
        .endpoint(relay)
        .start()
        .await?;
    bus.publish(&Cancelled { number: 1 }).await?;
    bus.publish(&Ordered { number: 2 }).await?;
    assert_eq!(numbers(&seen.take(2).await), [1, 2]);
    bus.shutdown().await?;
    Ok(())
}

/// A contract whose exchange has another name is delivered there, and its faults
/// arrive.
async fn an_exchange_may_have_another_name(broker: &dyn TestBroker) -> Outcome {
    let exchange = broker.name("orders-of-the-north");
    let seen = Recorder::<Ordered>::failing();
    let faults = Recorder::<Fault<Ordered>>::new();
    let bus = broker
        .bus()
        .publish_topology(Topologies::fanout().entity_name(exchange.clone()))
        .endpoint(Endpoint::new(broker.name("orders")).consumer(seen.clone()))
        .endpoint(Endpoint::new(broker.name("faults")).consumer(faults.clone()))
        .start()
        .await?;
    let event = Ordered { number: 1 };
    let id = uuid::Uuid::now_v7();
    bus.publish(&event).message_id(id).await?;
    let call = seen.next().await;
    assert_eq!(call.incoming().exchange, exchange);
    let address = call
        .envelope()
        .destination_address
        .clone()
        .unwrap_or_default();
    assert!(address.ends_with(&format!("/{exchange}")), "{address}");
    fault_of(&faults, id).await;
    bus.shutdown().await?;
    Ok(())
}

/// A hook may change key and intent-dependent settings of what leaves.
async fn a_hook_may_choose_the_routing_key(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let endpoint = serial(broker.name("hooked"))
        .subscribe::<Ordered>("events")
        .consumer(seen.clone());
    let bus = bus_with(broker, Topologies::direct())
        .endpoint(endpoint)
        .on_send(|context: &mut bus_core::send::SendContext| {
            if context.intent == Intent::Publish {
                context.routing_key = "events".into();
            }
            Ok(())
        })
        .start()
        .await?;
    bus.publish(&Ordered { number: 1 })
        .routing_key("elsewhere")
        .await?;
    bus.publish(&Ordered { number: LAST }).await?;
    assert_eq!(numbers(&seen.until_last().await), [1]);
    bus.shutdown().await?;
    Ok(())
}

behaviours! { routing:
    a_direct_exchange_delivers_by_key needs RoutingKeys,
    topic_patterns_match_words needs RoutingKeys,
    a_topic_subscription_without_a_key_gets_everything needs RoutingKeys,
    the_routing_key_comes_from_the_message needs RoutingKeys,
    a_headers_exchange_delivers_by_header_values needs HeadersExchanges,
    bindings_lead_from_exchange_to_exchange needs RoutingKeys,
    an_alternate_exchange_receives_what_has_no_subscriber needs AlternateExchanges,
    an_exchange_may_have_another_name,
    a_hook_may_choose_the_routing_key needs RoutingKeys,
}
