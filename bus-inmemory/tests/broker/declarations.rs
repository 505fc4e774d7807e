//! Declaring what exists.

use std::time::Duration;

use bus_core::topology::{
    Binding, Exchange, ExchangeKind, Node, Presence, Queue, QueueKind, Topology,
};
use bus_core::transport::{Transport, TransportErrorKind};
use bus_inmemory::InMemory;

use crate::support::*;

fn with_ttl(millis: u64) -> Queue {
    Queue {
        message_ttl: Some(Duration::from_millis(millis)),
        ..Queue::classic("orders")
    }
}

#[tokio::test]
async fn the_same_again_changes_nothing() {
    let broker = InMemory::new();
    for _ in 0..2 {
        broker.declare(&queue(with_ttl(2000))).await.unwrap();
        broker
            .declare(&exchange("e", ExchangeKind::Topic))
            .await
            .unwrap();
        bind(&broker, "e", "orders", "#").await;
    }
    broker.send(to_exchange("e", "", "m")).await.unwrap();
    assert_eq!(broker.waiting("orders"), Some(1));
}

#[tokio::test]
async fn another_argument_is_a_mismatch_that_shows_both_values() {
    let broker = InMemory::new();
    broker.declare(&queue(with_ttl(2000))).await.unwrap();
    let mismatch = |topology| {
        let broker = broker.clone();
        async move {
            refused(
                broker.declare(&topology).await,
                TransportErrorKind::Mismatch,
            )
        }
    };
    assert_eq!(
        mismatch(queue(with_ttl(1000))).await,
        "inequivalent arg 'x-message-ttl' for queue 'orders': received 1000 but current is 2000"
    );
    assert_eq!(
        mismatch(queue(Queue::classic("orders"))).await,
        "inequivalent arg 'x-message-ttl' for queue 'orders': received none but current is 2000"
    );
    let quorum = Queue {
        kind: QueueKind::Quorum,
        ..with_ttl(2000)
    };
    assert_eq!(
        mismatch(queue(quorum)).await,
        "inequivalent arg 'x-queue-type' for queue 'orders': received 'quorum' but current is 'classic'"
    );
    let transient = Queue {
        durable: false,
        ..with_ttl(2000)
    };
    assert_eq!(
        mismatch(queue(transient)).await,
        "inequivalent arg 'durable' for queue 'orders': received false but current is true"
    );
    broker
        .declare(&exchange("e", ExchangeKind::Fanout))
        .await
        .unwrap();
    assert_eq!(
        mismatch(exchange("e", ExchangeKind::Direct)).await,
        "inequivalent arg 'type' for exchange 'e': received direct but current is fanout"
    );
}

#[tokio::test]
async fn a_further_argument_means_what_the_typed_one_means() {
    let broker = InMemory::new();
    let further = Queue {
        arguments: arguments([("x-message-ttl", 2000.into())]),
        ..Queue::classic("orders")
    };
    broker.declare(&queue(further)).await.unwrap();
    broker.declare(&queue(with_ttl(2000))).await.unwrap();
}

#[tokio::test]
async fn what_only_has_to_be_there_is_not_compared() {
    let broker = InMemory::new();
    let existing = Queue {
        presence: Presence::Existing,
        ..Queue::classic("orders")
    };
    let kind = TransportErrorKind::Unroutable;
    let error = refused(broker.declare(&queue(existing.clone())).await, kind);
    assert_eq!(error, "there is no queue 'orders'");
    let if_missing = Queue {
        presence: Presence::IfMissing,
        ..with_ttl(1000)
    };
    broker.declare(&queue(if_missing.clone())).await.unwrap();
    broker.declare(&queue(existing)).await.unwrap();
    broker
        .declare(&queue(Queue {
            durable: false,
            ..if_missing
        }))
        .await
        .unwrap();
    let mut other = exchange("e", ExchangeKind::Topic);
    broker
        .declare(&exchange("e", ExchangeKind::Fanout))
        .await
        .unwrap();
    other.exchanges[0].presence = Presence::IfMissing;
    broker.declare(&other).await.unwrap();
    other.exchanges[0] = Exchange {
        presence: Presence::Existing,
        ..Exchange::fanout("gone")
    };
    refused(broker.declare(&other).await, kind);
}

#[tokio::test]
async fn values_without_sense_are_refused() {
    let broker = InMemory::new();
    for (argument, value) in [
        ("x-message-ttl", bus_core::message::HeaderValue::from(-1)),
        ("x-expires", 0.into()),
        ("x-max-priority", 256.into()),
        ("x-overflow", "drop-tail".into()),
        ("x-queue-type", "turbo".into()),
        ("x-dead-letter-routing-key", "alone".into()),
    ] {
        let bad = Queue {
            arguments: arguments([(argument, value)]),
            ..Queue::classic("orders")
        };
        let error = refused(
            broker.declare(&queue(bad)).await,
            TransportErrorKind::Mismatch,
        );
        assert!(
            error.starts_with(&format!("invalid arg '{argument}' for queue 'orders'")),
            "{error}"
        );
    }
    let stream = Queue {
        kind: QueueKind::Stream,
        ..Queue::classic("log")
    };
    refused(
        broker.declare(&queue(stream)).await,
        TransportErrorKind::Unsupported,
    );
}

#[tokio::test]
async fn bindings_need_both_ends() {
    let broker = InMemory::new();
    broker
        .declare(&exchange("e", ExchangeKind::Fanout))
        .await
        .unwrap();
    queues(&broker, &["q"]).await;
    let kind = TransportErrorKind::Unroutable;
    for (source, destination) in [
        ("e", Node::Queue("gone".into())),
        ("e", Node::Exchange("gone".into())),
        ("gone", Node::Queue("q".into())),
    ] {
        let error = refused(
            broker
                .declare(&binding(Binding::new(source, destination)))
                .await,
            kind,
        );
        assert!(error.contains("'gone'"), "{error}");
    }
}

#[tokio::test]
async fn names_of_the_broker_itself_are_refused() {
    let broker = InMemory::new();
    let kind = TransportErrorKind::AccessRefused;
    for name in ["", "amq.mine"] {
        refused(
            broker.declare(&exchange(name, ExchangeKind::Fanout)).await,
            kind,
        );
        refused(broker.declare(&queue(Queue::classic(name))).await, kind);
    }
    queues(&broker, &["q"]).await;
    let default = Binding::new("", Node::Queue("q".into()));
    refused(broker.declare(&binding(default)).await, kind);
}

#[tokio::test]
async fn auto_delete_exchanges_go_with_their_last_binding() {
    let broker = InMemory::new();
    let auto_delete = |name| Exchange {
        auto_delete: true,
        ..Exchange::fanout(name)
    };
    let topology = Topology {
        exchanges: vec![auto_delete("outer"), auto_delete("inner")],
        queues: vec![Queue {
            auto_delete: true,
            ..Queue::classic("q")
        }],
        bindings: vec![
            Binding::new("outer", Node::Exchange("inner".into())),
            Binding::new("inner", Node::Queue("q".into())),
        ],
    };
    broker.declare(&topology).await.unwrap();
    let listener = listen(&broker, "q", 1).await;
    broker.send(to_exchange("outer", "", "m")).await.unwrap();
    listener.stop().await;
    assert_eq!(broker.waiting("q"), None);
    for gone in ["inner", "outer"] {
        refused(
            broker.send(to_exchange(gone, "", "m")).await,
            TransportErrorKind::Unroutable,
        );
    }
}
