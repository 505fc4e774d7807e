//! Who gets which message, and what becomes of it when they go.

use std::sync::Arc;

use bus_core::topology::Queue;
use bus_core::transport::{ListenSpec, Settlement, Transport, TransportErrorKind};
use bus_inmemory::InMemory;

use futures_util::FutureExt;

use crate::support::*;

#[tokio::test]
async fn competing_consumers_take_turns() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    let first = listen(&broker, "q", 10).await;
    let second = listen(&broker, "q", 10).await;
    send_all(&broker, "q", &["1", "2", "3", "4"]).await;
    assert_eq!(drain(&first), ["1", "3"]);
    assert_eq!(drain(&second), ["2", "4"]);
}

#[tokio::test]
async fn prefetch_bounds_what_is_unsettled() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    let listener = listen(&broker, "q", 2).await;
    send_all(&broker, "q", &["1", "2", "3"]).await;
    let one = pull(&listener).unwrap();
    let _two = pull(&listener).unwrap();
    assert!(pull(&listener).is_none());
    assert_eq!(broker.waiting("q"), Some(1));
    one.receipt.settle(Settlement::Ack);
    assert_eq!(body(&pull(&listener).unwrap()), "3");
}

#[tokio::test]
async fn a_higher_priority_is_served_first_while_it_has_room() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    let low = listen(&broker, "q", 10).await;
    let preferred = ListenSpec {
        priority: Some(5),
        ..spec("q", 2)
    };
    let high = broker.listen(preferred).await.unwrap();
    send_all(&broker, "q", &["1", "2", "3"]).await;
    assert_eq!(drain(&high), ["1", "2"]);
    assert_eq!(drain(&low), ["3"]);
}

#[tokio::test]
async fn a_single_active_consumer_is_followed_by_the_next() {
    let broker = InMemory::new();
    let single = Queue {
        single_active_consumer: true,
        ..Queue::classic("q")
    };
    broker.declare(&queue(single)).await.unwrap();
    let first = listen(&broker, "q", 1).await;
    let second = listen(&broker, "q", 10).await;
    send_all(&broker, "q", &["1", "2"]).await;
    assert!(pull(&second).is_none());
    let _one = pull(&first).unwrap();
    first.close().await;
    assert_eq!(drain(&second), ["1", "2"]);
}

#[tokio::test]
async fn an_exclusive_consumer_is_alone() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    let alone = ListenSpec {
        exclusive: true,
        ..spec("q", 1)
    };
    let listener = broker.listen(alone.clone()).await.unwrap();
    let kind = TransportErrorKind::AccessRefused;
    let error = refused(broker.clone().listen(spec("q", 1)).await, kind);
    assert!(error.contains("queue 'q'"), "{error}");
    listener.stop().await;
    let shared = listen(&broker, "q", 1).await;
    refused(broker.listen(alone).await, kind);
    drop(shared);
}

#[tokio::test]
async fn what_was_not_pulled_goes_back_unmarked_on_stop() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    let listener = listen(&broker, "q", 10).await;
    send_all(&broker, "q", &["1", "2"]).await;
    let one = pull(&listener).unwrap();
    listener.stop().await;
    assert!(listener.next().await.is_none());
    let other = listen(&broker, "q", 10).await;
    let two = pull(&other).unwrap();
    assert_eq!(
        (body(&two).as_str(), two.incoming.redelivered),
        ("2", false)
    );
    one.receipt.settle(Settlement::Ack);
    listener.close().await;
    assert!(pull(&other).is_none());
}

#[tokio::test]
async fn what_is_unsettled_goes_back_marked_on_close() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    let listener = listen(&broker, "q", 10).await;
    send_all(&broker, "q", &["1", "2"]).await;
    let late = pull(&listener).unwrap();
    listener.close().await;
    // Too late: it belongs to a listener that is gone.
    late.receipt.settle(Settlement::Ack);
    let other = listen(&broker, "q", 10).await;
    let pulled: Vec<_> = std::iter::from_fn(|| pull(&other)).collect();
    let marks: Vec<_> = pulled
        .iter()
        .map(|delivery| (body(delivery), delivery.incoming.redelivered))
        .collect();
    assert_eq!(marks, [("1".to_owned(), true), ("2".to_owned(), false)]);
}

#[tokio::test]
async fn a_dropped_listener_gives_everything_back() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    send_all(&broker, "q", &["1", "2"]).await;
    let listener = listen(&broker, "q", 10).await;
    let _held = pull(&listener).unwrap();
    drop(listener);
    assert_eq!(broker.waiting("q"), Some(2));
}

#[tokio::test]
async fn stop_and_close_wake_all_waiters() {
    for close in [false, true] {
        let broker = InMemory::new();
        queues(&broker, &["q"]).await;
        let listener = listen(&broker, "q", 1).await;
        let waiting = Arc::clone(&listener);
        let waiting = tokio::spawn(async move { waiting.next().await.is_none() });
        tokio::task::yield_now().await;
        if close {
            listener.close().await;
        } else {
            listener.stop().await;
        }
        assert!(waiting.await.unwrap());
    }
}

#[tokio::test]
async fn a_waiter_that_is_never_polled_again_keeps_no_message() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    let listener = listen(&broker, "q", 10).await;
    let mut asleep = listener.next();
    assert!((&mut asleep).now_or_never().is_none());
    let awake = Arc::clone(&listener);
    let awake = tokio::spawn(async move { awake.next().await.map(Result::unwrap) });
    tokio::task::yield_now().await;
    send_all(&broker, "q", &["1"]).await;
    assert_eq!(body(&awake.await.unwrap().unwrap()), "1");
}

#[tokio::test]
async fn a_waiter_that_is_dropped_loses_no_message() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    let listener = listen(&broker, "q", 10).await;
    for round in 0..3 {
        let mut waiting = listener.next();
        assert!((&mut waiting).now_or_never().is_none());
        send_all(&broker, "q", &[&round.to_string()]).await;
        drop(waiting);
        assert_eq!(drain(&listener), [round.to_string()]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_pull_each_message_once() {
    const MESSAGES: usize = 20_000;
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    let listener = listen(&broker, "q", 100).await;
    let (seen, mut all_seen) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..4 {
        let (listener, seen) = (Arc::clone(&listener), seen.clone());
        tokio::spawn(async move {
            while let Some(delivery) = listener.next().await {
                let delivery = delivery.unwrap();
                seen.send(body(&delivery)).unwrap();
                delivery.receipt.settle(Settlement::Ack);
            }
        });
    }
    drop(seen);
    for number in 0..MESSAGES {
        send_all(&broker, "q", &[&number.to_string()]).await;
    }
    let mut numbers = std::collections::HashSet::new();
    for _ in 0..MESSAGES {
        numbers.insert(all_seen.recv().await.unwrap());
    }
    assert_eq!(numbers.len(), MESSAGES);
    listener.stop().await;
    assert_eq!(all_seen.recv().await, None);
}
