//! Order, requeuing, limits, priorities, dead letters.

use bus_core::topology::{DeadLetter, Overflow, Queue, QueueKind};
use bus_core::transport::{Settlement, Transport, TransportErrorKind};
use bus_inmemory::InMemory;

use crate::support::*;

fn dead_letter_to(queue: &str) -> DeadLetter {
    DeadLetter {
        exchange: String::new(),
        routing_key: Some(queue.to_owned()),
    }
}

#[tokio::test]
async fn messages_come_in_the_order_in_which_they_were_sent() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    send_all(&broker, "q", &["1", "2", "3"]).await;
    assert_eq!(empty(&broker, "q").await, ["1", "2", "3"]);
}

#[tokio::test]
async fn a_requeued_message_comes_back_to_its_place_marked() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    send_all(&broker, "q", &["1", "2", "3", "4"]).await;
    let listener = listen(&broker, "q", 3).await;
    let taken: Vec<_> = std::iter::from_fn(|| pull(&listener)).collect();
    assert_eq!(taken.len(), 3);
    // Returned in the wrong order, and the room that each leaves is taken at once.
    for delivery in taken.into_iter().rev() {
        delivery.receipt.settle(Settlement::Requeue);
    }
    listener.close().await;
    let listener = listen(&broker, "q", 10).await;
    for (expected, redelivered) in [("1", true), ("2", true), ("3", true), ("4", false)] {
        let delivery = pull(&listener).unwrap();
        assert_eq!(body(&delivery), expected);
        assert_eq!(delivery.incoming.redelivered, redelivered, "{expected}");
        delivery.receipt.settle(Settlement::Ack);
    }
}

#[tokio::test]
async fn a_dropped_delivery_comes_back() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    send_all(&broker, "q", &["1"]).await;
    let listener = listen(&broker, "q", 1).await;
    drop(pull(&listener));
    assert!(pull(&listener).unwrap().incoming.redelivered);
}

#[tokio::test]
async fn a_full_queue_drops_its_oldest_message() {
    let broker = InMemory::new();
    let bounded = Queue {
        max_length: Some(2),
        dead_letter: Some(dead_letter_to("dropped")),
        ..Queue::classic("q")
    };
    broker.declare(&queue(bounded)).await.unwrap();
    queues(&broker, &["dropped"]).await;
    send_all(&broker, "q", &["1", "2", "3"]).await;
    assert_eq!(empty(&broker, "q").await, ["2", "3"]);
    assert_eq!(empty(&broker, "dropped").await, ["1"]);
}

#[tokio::test]
async fn a_full_queue_that_refuses_says_so() {
    let broker = InMemory::new();
    let bounded = Queue {
        max_length: Some(1),
        overflow: Some(Overflow::RejectPublish),
        ..Queue::classic("q")
    };
    broker.declare(&queue(bounded)).await.unwrap();
    send_all(&broker, "q", &["1"]).await;
    let error = refused(
        broker.send(to_queue("q", "2")).await,
        TransportErrorKind::Nacked,
    );
    assert_eq!(
        error,
        "queue 'q' is full: its x-max-length is 1, and its x-overflow refuses more"
    );
    assert_eq!(empty(&broker, "q").await, ["1"]);
    send_all(&broker, "q", &["3"]).await;
}

#[tokio::test]
async fn refused_messages_are_dead_lettered_on_request() {
    let broker = InMemory::new();
    let bounded = Queue {
        max_length: Some(1),
        dead_letter: Some(dead_letter_to("dropped")),
        arguments: arguments([("x-overflow", "reject-publish-dlx".into())]),
        ..Queue::classic("q")
    };
    broker.declare(&queue(bounded)).await.unwrap();
    queues(&broker, &["dropped"]).await;
    send_all(&broker, "q", &["1"]).await;
    refused(
        broker.send(to_queue("q", "2")).await,
        TransportErrorKind::Nacked,
    );
    assert_eq!(empty(&broker, "dropped").await, ["2"]);
}

#[tokio::test]
async fn higher_priorities_come_first_and_are_capped() {
    let broker = InMemory::new();
    let prioritized = Queue {
        max_priority: Some(5),
        ..Queue::classic("q")
    };
    broker.declare(&queue(prioritized)).await.unwrap();
    for (body, priority) in [
        ("none", None),
        ("low 1", Some(1)),
        ("high 1", Some(5)),
        ("low 2", Some(1)),
        ("above", Some(200)),
    ] {
        let mut outgoing = to_queue("q", body);
        outgoing.priority = priority;
        broker.send(outgoing).await.unwrap();
    }
    let order = ["high 1", "above", "low 1", "low 2", "none"];
    assert_eq!(empty(&broker, "q").await, order);
}

#[tokio::test]
async fn quorum_queues_count_returns_and_give_up_beyond_their_limit() {
    let broker = InMemory::new();
    let counted = Queue {
        kind: QueueKind::Quorum,
        delivery_limit: Some(2),
        dead_letter: Some(dead_letter_to("q_error")),
        ..Queue::classic("q")
    };
    broker.declare(&queue(counted)).await.unwrap();
    queues(&broker, &["q_error"]).await;
    send_all(&broker, "q", &["1"]).await;
    let listener = listen(&broker, "q", 1).await;
    for count in 0..=2 {
        let delivery = pull(&listener).unwrap();
        assert_eq!(delivery.incoming.delivery_count, Some(count));
        assert_eq!(delivery.incoming.redelivered, count > 0);
        delivery.receipt.settle(Settlement::Requeue);
    }
    assert!(pull(&listener).is_none());
    let errors = listen(&broker, "q_error", 1).await;
    let dead = pull(&errors).unwrap();
    assert_eq!(
        (body(&dead).as_str(), dead.incoming.redelivered),
        ("1", false)
    );
    assert_eq!(dead.incoming.routing_key, "q_error");
}

#[tokio::test]
async fn dead_letters_keep_their_key_unless_the_queue_gives_one() {
    let broker = InMemory::new();
    broker
        .declare(&exchange("dead", bus_core::topology::ExchangeKind::Direct))
        .await
        .unwrap();
    let bounded = Queue {
        max_length: Some(0),
        dead_letter: Some(DeadLetter {
            exchange: "dead".into(),
            routing_key: None,
        }),
        ..Queue::classic("q")
    };
    broker.declare(&queue(bounded)).await.unwrap();
    queues(&broker, &["kept"]).await;
    bind(&broker, "dead", "kept", "q").await;
    send_all(&broker, "q", &["1"]).await;
    assert_eq!(empty(&broker, "kept").await, ["1"]);
}

#[tokio::test]
async fn dead_letters_do_not_go_in_circles() {
    let broker = InMemory::new();
    for (name, other) in [("a", "b"), ("b", "a"), ("self", "self")] {
        let bounded = Queue {
            max_length: Some(0),
            dead_letter: Some(dead_letter_to(other)),
            ..Queue::classic(name)
        };
        broker.declare(&queue(bounded)).await.unwrap();
    }
    send_all(&broker, "a", &["1"]).await;
    send_all(&broker, "self", &["1"]).await;
    for name in ["a", "b", "self"] {
        assert_eq!(broker.waiting(name), Some(0), "{name}");
    }
}
