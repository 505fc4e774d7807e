//! Exchanges and bindings.

use std::borrow::Cow;
use std::sync::Arc;

use bus_core::topology::{Binding, Exchange, ExchangeKind, Node, Topology};
use bus_core::transport::{Outgoing, Target, Transport, TransportErrorKind};
use bus_inmemory::InMemory;
use bytes::Bytes;

use crate::support::*;

#[tokio::test]
async fn kinds_of_exchanges_route_as_they_say() {
    for (kind, key, reached) in [
        (ExchangeKind::Fanout, "x", vec!["a.b", "a.*", "x"]),
        (ExchangeKind::Direct, "a.b", vec!["a.b"]),
        (ExchangeKind::Topic, "a.b", vec!["a.b", "a.*"]),
    ] {
        let broker = InMemory::new();
        broker.declare(&exchange("e", kind)).await.unwrap();
        queues(&broker, &["a.b", "a.*", "x"]).await;
        for key in ["a.b", "a.*", "x"] {
            bind(&broker, "e", key, key).await;
        }
        broker.send(to_exchange("e", key, "m")).await.unwrap();
        for queue in ["a.b", "a.*", "x"] {
            let expected = usize::from(reached.contains(&queue));
            assert_eq!(broker.waiting(queue), Some(expected), "{kind:?} {queue}");
        }
    }
}

#[tokio::test]
async fn headers_exchanges_route_by_headers_each_time() {
    let broker = InMemory::new();
    broker
        .declare(&exchange("e", ExchangeKind::Headers))
        .await
        .unwrap();
    queues(&broker, &["north"]).await;
    let mut by_region = Binding::new("e", Node::Queue("north".into()));
    by_region.arguments = arguments([("region", "north".into())]);
    broker.declare(&binding(by_region)).await.unwrap();
    for region in ["south", "north", "south"] {
        let mut outgoing = to_exchange("e", "", region);
        outgoing.headers.insert("region", region);
        broker.send(outgoing).await.unwrap();
    }
    assert_eq!(empty(&broker, "north").await, ["north"]);
}

#[tokio::test]
async fn diamonds_and_circles_deliver_once() {
    let broker = InMemory::new();
    for name in ["top", "left", "right"] {
        broker
            .declare(&exchange(name, ExchangeKind::Fanout))
            .await
            .unwrap();
    }
    queues(&broker, &["q"]).await;
    for (from, to) in [
        ("top", "left"),
        ("top", "right"),
        ("left", "top"),
        ("right", "left"),
    ] {
        chain(&broker, from, to).await;
    }
    for exchange in ["top", "left", "right"] {
        bind(&broker, exchange, "q", "").await;
    }
    for exchange in ["top", "left", "right"] {
        broker
            .send(to_exchange(exchange, "", exchange))
            .await
            .unwrap();
    }
    assert_eq!(empty(&broker, "q").await, ["top", "left", "right"]);
}

#[tokio::test]
async fn a_new_binding_counts_for_the_next_message() {
    let broker = InMemory::new();
    broker
        .declare(&exchange("e", ExchangeKind::Topic))
        .await
        .unwrap();
    queues(&broker, &["q", "later"]).await;
    bind(&broker, "e", "q", "#").await;
    broker.send(to_exchange("e", "a", "1")).await.unwrap();
    bind(&broker, "e", "later", "a").await;
    broker.send(to_exchange("e", "a", "2")).await.unwrap();
    assert_eq!(empty(&broker, "q").await, ["1", "2"]);
    assert_eq!(empty(&broker, "later").await, ["2"]);
}

#[tokio::test]
async fn what_cannot_be_routed_is_an_error_only_if_mandatory() {
    let broker = InMemory::new();
    broker
        .declare(&exchange("orders", ExchangeKind::Direct))
        .await
        .unwrap();
    broker.send(to_exchange("orders", "k", "m")).await.unwrap();
    let mut outgoing = to_exchange("orders", "k", "m");
    outgoing.mandatory = true;
    let error = refused(broker.send(outgoing).await, TransportErrorKind::Unroutable);
    assert_eq!(
        error,
        "no queue takes what is sent to exchange 'orders' with routing key 'k'"
    );
}

#[tokio::test]
async fn an_alternate_exchange_counts_as_routed() {
    let broker = InMemory::new();
    let main = Exchange {
        alternate: Some("spare".into()),
        ..Exchange::new("main", ExchangeKind::Direct)
    };
    let topology = Topology {
        exchanges: vec![main, Exchange::fanout("spare")],
        ..Topology::default()
    };
    broker.declare(&topology).await.unwrap();
    queues(&broker, &["q", "rest"]).await;
    bind(&broker, "main", "q", "known").await;
    bind(&broker, "spare", "rest", "").await;
    for key in ["known", "unknown"] {
        let mut outgoing = to_exchange("main", key, key);
        outgoing.mandatory = true;
        broker.send(outgoing).await.unwrap();
    }
    assert_eq!(empty(&broker, "q").await, ["known"]);
    assert_eq!(empty(&broker, "rest").await, ["unknown"]);
}

#[tokio::test]
async fn what_is_not_there_cannot_be_sent_to() {
    let broker = InMemory::new();
    let kind = TransportErrorKind::Unroutable;
    let error = refused(broker.send(to_exchange("gone", "", "m")).await, kind);
    assert_eq!(error, "there is no exchange 'gone'");
    let error = refused(broker.send(to_queue("gone", "m")).await, kind);
    assert_eq!(error, "there is no queue 'gone'");
}

#[tokio::test]
async fn sending_to_a_queue_makes_it_with_its_exchange() {
    let broker = InMemory::new();
    let outgoing = Outgoing::new(Target::Queue(Cow::Borrowed("orders")), Bytes::from("m"));
    for _ in 0..2 {
        broker.send(outgoing.clone()).await.unwrap();
    }
    broker.send(to_exchange("orders", "", "m")).await.unwrap();
    assert_eq!(broker.waiting("orders"), Some(3));
}

#[tokio::test]
async fn a_queue_that_is_there_is_sent_to_by_its_exchange_only() {
    let broker = InMemory::new();
    queues(&broker, &["orders"]).await;
    let mut outgoing = Outgoing::new(Target::Queue(Cow::Borrowed("orders")), Bytes::from("m"));
    outgoing.mandatory = true;
    refused(broker.send(outgoing).await, TransportErrorKind::Unroutable);
}

#[tokio::test]
async fn the_topology_of_a_target_is_declared_before_the_first_send() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    let mut topology = exchange("e", ExchangeKind::Fanout);
    topology
        .bindings
        .push(Binding::new("e", Node::Queue("q".into())));
    let target = Target::Exchange {
        name: Cow::Borrowed("e"),
        topology: Some(Arc::new(topology)),
    };
    for _ in 0..2 {
        broker
            .send(Outgoing::new(target.clone(), Bytes::from("m")))
            .await
            .unwrap();
    }
    assert_eq!(broker.waiting("q"), Some(2));
}

#[tokio::test]
async fn everything_about_a_message_arrives() {
    let broker = InMemory::new();
    broker
        .declare(&exchange("e", ExchangeKind::Topic))
        .await
        .unwrap();
    queues(&broker, &["q"]).await;
    bind(&broker, "e", "q", "a.*").await;
    let ttl = std::time::Duration::from_secs(60);
    let mut outgoing = Outgoing {
        content_type: Some("application/json".into()),
        message_id: Some("id".into()),
        correlation_id: Some("correlation".into()),
        ttl: Some(ttl),
        priority: Some(3),
        durable: false,
        ..to_exchange("e", "a.b", "m")
    };
    outgoing.headers.insert("Tenant", "north");
    broker.send(outgoing.clone()).await.unwrap();
    let incoming = pull(&listen(&broker, "q", 1).await).unwrap().incoming;
    assert_eq!(incoming.body, outgoing.body);
    assert_eq!(incoming.content_type.as_deref(), Some("application/json"));
    assert_eq!(incoming.message_id.as_deref(), Some("id"));
    assert_eq!(incoming.correlation_id.as_deref(), Some("correlation"));
    assert_eq!(incoming.headers, outgoing.headers);
    assert_eq!(
        (incoming.exchange.as_str(), incoming.routing_key.as_str()),
        ("e", "a.b")
    );
    assert_eq!((incoming.ttl, incoming.priority), (Some(ttl), Some(3)));
    assert!(!incoming.durable && !incoming.redelivered);
    assert_eq!(incoming.delivery_count, None);
}

#[tokio::test]
async fn names_longer_than_amqp_carries_are_refused() {
    let broker = InMemory::new();
    let long = "x".repeat(256);
    let kind = TransportErrorKind::TooLarge;
    refused(
        broker.declare(&exchange(&long, ExchangeKind::Fanout)).await,
        kind,
    );
    refused(broker.send(to_queue(&long, "m")).await, kind);
    broker
        .declare(&exchange("e", ExchangeKind::Topic))
        .await
        .unwrap();
    let error = refused(broker.send(to_exchange("e", &long, "m")).await, kind);
    assert!(
        error.contains("routing key") && error.contains("256 bytes"),
        "{error}"
    );
}
