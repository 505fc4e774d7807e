//! Handles: one connection each, sharing a broker.

use std::time::Duration;

use bus_core::topology::{ExchangeKind, Queue};
use bus_core::transport::{Capability, Health, Settlement, Transport, TransportErrorKind};
use bus_inmemory::InMemory;
use tokio::time::Instant;

use crate::support::*;

fn exclusive(name: &str) -> Queue {
    Queue {
        exclusive: true,
        ..Queue::classic(name)
    }
}

#[tokio::test]
async fn clones_share_a_broker_and_new_handles_do_not() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    broker.clone().send(to_queue("q", "m")).await.unwrap();
    assert_eq!(broker.waiting("q"), Some(1));
    assert_eq!(InMemory::new().waiting("q"), None);
}

#[tokio::test]
async fn exclusive_queues_belong_to_their_connection() {
    let (owner, other) = (InMemory::new(), InMemory::new());
    drop(other);
    let other = owner.clone();
    owner.declare(&queue(exclusive("mine"))).await.unwrap();
    owner.declare(&queue(exclusive("mine"))).await.unwrap();
    let kind = TransportErrorKind::AccessRefused;
    let error = refused(other.declare(&queue(exclusive("mine"))).await, kind);
    assert_eq!(error, "queue 'mine' is exclusive to another connection");
    refused(other.listen(spec("mine", 1)).await, kind);
    // Anybody may send to it: that is how replies arrive.
    other.send(to_queue("mine", "m")).await.unwrap();
    assert_eq!(drain(&listen(&owner, "mine", 1).await), ["m"]);
}

#[tokio::test]
async fn a_closed_connection_takes_what_is_its_own_along() {
    let (closing, other) = {
        let broker = InMemory::new();
        (broker.clone(), broker)
    };
    queues(&other, &["q"]).await;
    send_all(&other, "q", &["1", "2"]).await;
    closing.declare(&queue(exclusive("mine"))).await.unwrap();
    let own = listen(&closing, "mine", 1).await;
    let listener = listen(&closing, "q", 10).await;
    let late = pull(&listener).unwrap();
    closing.close().await;
    closing.close().await;
    assert!(listener.next().await.is_none());
    assert!(own.next().await.is_none());
    late.receipt.settle(Settlement::Ack);
    assert_eq!(other.waiting("mine"), None);
    assert_eq!(empty(&other, "q").await, ["1", "2"]);
}

#[tokio::test]
async fn a_closed_connection_refuses_everything() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    assert_eq!(broker.health(), Health::Up);
    broker.close().await;
    let kind = TransportErrorKind::Closed;
    refused(broker.connect().await, kind);
    refused(
        broker.declare(&exchange("e", ExchangeKind::Fanout)).await,
        kind,
    );
    refused(broker.send(to_queue("q", "m")).await, kind);
    refused(broker.listen(spec("q", 1)).await, kind);
    assert!(matches!(broker.health(), Health::Down(_)));
    let again = broker.clone();
    again.connect().await.unwrap();
    again.send(to_queue("q", "m")).await.unwrap();
}

#[tokio::test]
async fn a_dropped_handle_is_a_closed_connection() {
    let broker = InMemory::new();
    let other = broker.clone();
    other.declare(&queue(exclusive("mine"))).await.unwrap();
    drop(other);
    assert_eq!(broker.waiting("mine"), None);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_sends_nothing() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    let mut outgoing = to_queue("q", "m");
    outgoing.deadline = Some(Instant::now());
    refused(broker.send(outgoing).await, TransportErrorKind::TimedOut);
    assert_eq!(broker.waiting("q"), Some(0));
}

#[tokio::test]
async fn the_transport_says_what_it_is() {
    let broker = InMemory::new();
    assert_eq!(broker.base_address(), "loopback://localhost/");
    let capabilities = broker.capabilities();
    assert!(capabilities.has(Capability::DelayedDelivery));
    assert!(!capabilities.has(Capability::Persistence));
    assert!(!capabilities.has(Capability::Streams));
}

#[test]
fn a_delivery_may_outlive_its_runtime() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build().unwrap();
    let broker = InMemory::new();
    let (listener, delivery) = runtime.block_on(async {
        queues(&broker, &["q"]).await;
        let mut outgoing = to_queue("q", "m");
        outgoing.ttl = Some(Duration::from_secs(3600));
        broker.send(outgoing).await.unwrap();
        let listener = listen(&broker, "q", 1).await;
        let delivery = pull(&listener).unwrap();
        listener.stop().await;
        (listener, delivery)
    });
    drop(runtime);
    // Back in the queue it expires one day, but no timer runs here.
    drop(delivery);
    assert_eq!(broker.waiting("q"), Some(1));
    drop(listener);
}
