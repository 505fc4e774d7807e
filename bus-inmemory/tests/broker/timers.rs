//! TTL, delay and expiry, by tokio's clock.

use std::sync::Arc;
use std::time::Duration;

use bus_core::topology::{DeadLetter, Queue};
use bus_core::transport::{Outgoing, Settlement, Transport, TransportErrorKind};
use bus_inmemory::InMemory;
use futures_util::FutureExt;
use tokio::time::{Instant, sleep};

use crate::support::*;

const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(2);

fn with_ttl(body: &str, ttl: Duration) -> Outgoing {
    Outgoing {
        ttl: Some(ttl),
        ..to_queue("q", body)
    }
}

fn delayed(body: &str, delay: Duration) -> Outgoing {
    Outgoing {
        deliver_at: Some(Instant::now() + delay),
        ..to_queue("q", body)
    }
}

/// A queue whose messages wait for at most `ttl`, and go to `q_dead` then.
async fn dying(broker: &InMemory, ttl: Duration) {
    let dying = Queue {
        message_ttl: Some(ttl),
        dead_letter: Some(DeadLetter {
            exchange: String::new(),
            routing_key: Some("q_dead".into()),
        }),
        ..Queue::classic("q")
    };
    broker.declare(&queue(dying)).await.unwrap();
    queues(broker, &["q_dead"]).await;
}

#[tokio::test(start_paused = true)]
async fn the_smaller_ttl_wins() {
    let broker = InMemory::new();
    dying(&broker, HOUR * 2).await;
    broker.send(with_ttl("short", HOUR)).await.unwrap();
    sleep(HOUR + MOMENT).await;
    assert_eq!(
        (broker.waiting("q"), broker.waiting("q_dead")),
        (Some(0), Some(1))
    );
    broker.send(with_ttl("long", HOUR * 3)).await.unwrap();
    sleep(HOUR * 2 + MOMENT).await;
    assert_eq!(empty(&broker, "q_dead").await, ["short", "long"]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_does_not_expire_again() {
    let broker = InMemory::new();
    dying(&broker, HOUR * 2).await;
    broker.send(with_ttl("m", MOMENT)).await.unwrap();
    sleep(HOUR).await;
    assert_eq!(empty(&broker, "q_dead").await, ["m"]);
}

#[tokio::test(start_paused = true)]
async fn an_expired_message_is_not_delivered_even_at_the_very_moment() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    broker.send(with_ttl("m", HOUR)).await.unwrap();
    tokio::time::advance(HOUR).await;
    assert!(empty(&broker, "q").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_message_without_time_is_delivered_if_a_consumer_is_there() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    broker
        .send(with_ttl("nobody", Duration::ZERO))
        .await
        .unwrap();
    let listener = listen(&broker, "q", 1).await;
    assert!(pull(&listener).is_none());
    broker
        .send(with_ttl("somebody", Duration::ZERO))
        .await
        .unwrap();
    let held = pull(&listener).unwrap();
    assert_eq!(body(&held), "somebody");
    // Its time is over when it comes back.
    held.receipt.settle(Settlement::Requeue);
    assert!(pull(&listener).is_none());
}

#[tokio::test(start_paused = true)]
async fn only_the_head_of_a_queue_expires() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    broker.send(to_queue("q", "stays")).await.unwrap();
    broker.send(with_ttl("behind", MOMENT)).await.unwrap();
    sleep(HOUR).await;
    assert_eq!(broker.waiting("q"), Some(2));
    assert_eq!(empty(&broker, "q").await, ["stays"]);
    assert_eq!(broker.waiting("q"), Some(0));
}

#[tokio::test(start_paused = true)]
async fn delayed_messages_come_when_they_are_due_in_that_order() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    let listener = listen(&broker, "q", 10).await;
    let began = Instant::now();
    for (body, delay) in [("late", HOUR * 24), ("soon", HOUR), ("also soon", HOUR)] {
        broker.send(delayed(body, delay)).await.unwrap();
    }
    broker.send(delayed("now", Duration::ZERO)).await.unwrap();
    assert_eq!(broker.delayed(), 3);
    for (expected, hours) in [("now", 0), ("soon", 1), ("also soon", 1), ("late", 24)] {
        let delivery = listener.next().await.unwrap().unwrap();
        assert_eq!(body(&delivery), expected);
        delivery.receipt.settle(Settlement::Ack);
        let late = began.elapsed().checked_sub(HOUR * hours).unwrap();
        assert!(late <= MOMENT, "{expected} is {late:?} late");
    }
    assert_eq!(broker.delayed(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_delay_is_not_held_up_by_a_later_one() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    broker.send(delayed("late", HOUR)).await.unwrap();
    sleep(MOMENT).await;
    broker.send(delayed("soon", MOMENT)).await.unwrap();
    sleep(MOMENT * 2).await;
    assert_eq!(empty(&broker, "q").await, ["soon"]);
}

#[tokio::test(start_paused = true)]
async fn delayed_messages_need_somewhere_to_go() {
    let broker = InMemory::new();
    let nowhere = broker.send(delayed("m", HOUR)).await;
    refused(nowhere, TransportErrorKind::Unroutable);
    let century = HOUR * 24 * 365 * 100;
    queues(&broker, &["q"]).await;
    broker.send(delayed("never", century)).await.unwrap();
    sleep(HOUR).await;
    assert_eq!((broker.waiting("q"), broker.delayed()), (Some(0), 1));
}

#[tokio::test(start_paused = true)]
async fn an_unused_queue_goes_and_a_used_one_stays() {
    let broker = InMemory::new();
    let expiring = Queue {
        expires: Some(HOUR),
        ..Queue::classic("q")
    };
    let topology = queue(expiring);
    broker.declare(&topology).await.unwrap();
    sleep(HOUR / 2).await;
    let listener = listen(&broker, "q", 1).await;
    sleep(HOUR * 2).await;
    assert_eq!(broker.waiting("q"), Some(0));
    listener.stop().await;
    sleep(HOUR / 2).await;
    broker.declare(&topology).await.unwrap();
    sleep(HOUR / 2 + MOMENT).await;
    assert_eq!(broker.waiting("q"), Some(0));
    sleep(HOUR).await;
    assert_eq!(broker.waiting("q"), None);
}

#[tokio::test(start_paused = true)]
async fn a_listener_declares_a_queue_again_that_is_gone() {
    let broker = InMemory::new();
    let expiring = Queue {
        expires: Some(HOUR),
        ..Queue::classic("q")
    };
    let mut again = spec("q", 1);
    again.topology = Arc::new(queue(expiring));
    broker.declare(&again.topology).await.unwrap();
    sleep(HOUR + MOMENT).await;
    assert_eq!(broker.waiting("q"), None);
    let _listener = broker.listen(again).await.unwrap();
    assert_eq!(broker.waiting("q"), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_queue_made_anew_is_not_hurried_by_the_old_ones_time() {
    let broker = InMemory::new();
    let owner = broker.clone();
    let mine = Queue {
        exclusive: true,
        expires: Some(HOUR),
        ..Queue::classic("q")
    };
    owner.declare(&queue(mine.clone())).await.unwrap();
    sleep(HOUR / 2).await;
    owner.close().await;
    broker.declare(&queue(mine)).await.unwrap();
    sleep(HOUR / 2 + MOMENT).await;
    assert_eq!(broker.waiting("q"), Some(0));
    sleep(HOUR / 2).await;
    assert_eq!(broker.waiting("q"), None);
}

#[tokio::test(start_paused = true)]
async fn nothing_keeps_a_broker_alive_but_its_handles() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).await;
    let probe = Arc::new(());
    let held = Arc::downgrade(&probe);
    let body = bytes::Bytes::from_owner(Probe(probe));
    let mut outgoing = delayed("", HOUR);
    outgoing.body = body;
    broker.send(outgoing).await.unwrap();
    sleep(MOMENT).await;
    assert!(held.upgrade().is_some());
    drop(broker);
    assert!(held.upgrade().is_none());
}

struct Probe(#[allow(dead_code)] Arc<()>);

impl AsRef<[u8]> for Probe {
    fn as_ref(&self) -> &[u8] {
        b"kept"
    }
}

#[test]
fn nothing_is_delayed_without_a_clock() {
    let broker = InMemory::new();
    queues(&broker, &["q"]).now_or_never().unwrap();
    let sent = broker.send(delayed("m", HOUR)).now_or_never().unwrap();
    refused(sent, TransportErrorKind::Unsupported);
    assert_eq!(broker.delayed(), 0);
}

#[test]
fn a_second_runtime_takes_the_clock_over() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    };
    let broker = InMemory::new();
    runtime().block_on(async {
        queues(&broker, &["q"]).await;
        broker.send(delayed("m", MOMENT)).await.unwrap();
    });
    runtime().block_on(async {
        let listener = listen(&broker, "q", 1).await;
        assert_eq!(body(&listener.next().await.unwrap().unwrap()), "m");
    });
}
