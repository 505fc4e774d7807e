//! Claims on keys, and the store behind them: how long they last, and what happens
//! while it is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bus_core::idempotency::{Begin, IdempotencyStore, MemoryIdempotencyStore};
use bus_core::observe::{Observer, PostReceive, ReceiveOutcome};
use bus_core::{ConsumeContext, Endpoint, Idempotency, Policy};
use futures_util::future::join_all;
use uuid::Uuid;

use super::idempotency::{Sender, once};
use crate::support::contracts::{LAST, Ordered, Place};
use crate::support::counting_store::CountingStore;
use crate::support::fixture::{in_order, place, serial};
use crate::support::{Gate, Outcome, Recorder, eventually, numbers, with};
use crate::test_broker::TestBroker;

/// Two endpoints that share a store each handle the message.
async fn endpoints_that_share_a_store_do_not_disturb_each_other(
    broker: &dyn TestBroker,
) -> Outcome {
    let (first, second) = (Recorder::<Ordered>::new(), Recorder::<Ordered>::new());
    let bus = broker
        .bus()
        .policy(Policy::new().idempotency(once()))
        .endpoint(serial(broker.name("first")).consumer(first.clone()))
        .endpoint(serial(broker.name("second")).consumer(second.clone()))
        .start()
        .await?;
    let id = Uuid::now_v7();
    for _ in 0..2 {
        bus.publish(&Ordered { number: 1 }).message_id(id).await?;
    }
    bus.publish(&Ordered { number: LAST }).await?;
    assert_eq!(numbers(&first.until_last().await), [1]);
    assert_eq!(numbers(&second.until_last().await), [1]);
    bus.shutdown().await?;
    Ok(())
}

/// Observer that counts messages and duplicates.
#[derive(Clone, Debug, Default)]
struct Count {
    handled: Arc<AtomicU32>,
    duplicates: Arc<AtomicU32>,
}
impl Observer for Count {
    fn post_receive(&self, received: &PostReceive<'_>) {
        let count = match received.outcome {
            ReceiveOutcome::Duplicate => &self.duplicates,
            ReceiveOutcome::Handled => &self.handled,
            _ => return,
        };
        count.fetch_add(1, Ordering::SeqCst);
    }
}

/// Two instances that share a store handle a message once; observers see the
/// duplicates.
async fn instances_that_share_a_store_handle_a_message_once(broker: &dyn TestBroker) -> Outcome {
    let store: Arc<dyn IdempotencyStore> = Arc::new(MemoryIdempotencyStore::new());
    let (seen, count) = (Recorder::<Place>::new(), Count::default());
    let queue = broker.name("once");
    let mut buses = Vec::new();
    for _ in 0..2 {
        let endpoint = Endpoint::new(&queue)
            .idempotency(Arc::clone(&store))
            .consumer(seen.clone());
        let bus = broker.bus().observe(count.clone()).endpoint(endpoint);
        buses.push(bus.start().await?);
    }
    let ids: Vec<_> = (0..20).map(|_| Uuid::now_v7()).collect();
    let sends = ids.iter().chain(&ids).map(|id| {
        buses[0]
            .send_to(format!("queue:{queue}"), &Place { number: 1 })
            .message_id(*id)
            .into_future()
    });
    for outcome in join_all(sends).await {
        outcome?;
    }
    let read = |count: &AtomicU32| count.load(Ordering::SeqCst);
    eventually("all are done", || async {
        read(&count.handled) + read(&count.duplicates) == 40
    })
    .await;
    assert_eq!(
        (read(&count.handled), read(&count.duplicates), seen.calls()),
        (20, 20, 20)
    );
    for bus in buses {
        bus.shutdown().await?;
    }
    assert_eq!(broker.depth(&queue).await, Some(0));
    Ok(())
}

/// A handled message is forgotten in time, and then handled again.
async fn a_handled_message_is_forgotten_in_time(broker: &dyn TestBroker) -> Outcome {
    let store = Arc::new(MemoryIdempotencyStore::new());
    let seen = Recorder::<Place>::new();
    let brief = Idempotency::shared(Arc::clone(&store) as _).keep(Duration::from_millis(50));
    let sender = Sender::start(broker, |endpoint| {
        endpoint.idempotency(brief).consumer(seen.clone())
    })
    .await?;
    let id = Uuid::now_v7();
    sender.send(1, id).await?;
    seen.next().await;
    eventually("the key is done and forgotten", || async {
        store.is_empty()
    })
    .await;
    sender.send(1, id).await?;
    seen.next().await;
    sender.stop_clean(broker).await
}

/// A claim is prolonged while its consumer runs, however much longer than the lease
/// that takes.
async fn a_claim_lasts_as_long_as_its_consumer(broker: &dyn TestBroker) -> Outcome {
    let store = Arc::new(CountingStore::default());
    let gate = Gate::closed();
    let seen = Recorder::<Place>::new();
    let short = Idempotency::shared(Arc::clone(&store) as _).lease(Duration::from_millis(1500));
    let slow = with(
        (seen.clone(), gate.clone()),
        |(seen, gate), ctx: ConsumeContext<Place>| async move {
            seen.note(&ctx);
            gate.pass().await;
            Ok(())
        },
    );
    let sender = Sender::start(broker, |endpoint| {
        endpoint.concurrency(4).idempotency(short).consumer(slow)
    })
    .await?;
    let id = Uuid::now_v7();
    for _ in 0..2 {
        sender.send(1, id).await?;
    }
    gate.holds(1).await;
    // Five thirds of the lease: without prolonging, the duplicate would have got in.
    eventually("the claim is prolonged", || async {
        store.extended.load(Ordering::SeqCst) >= 5
    })
    .await;
    assert_eq!(gate.waiting(), 1);
    gate.open();
    sender.stop_clean(broker).await?;
    assert_eq!(seen.calls(), 1);
    Ok(())
}

/// While the store fails nothing is handled and nothing is lost; when it heals the
/// message is handled.
async fn a_store_that_fails_is_waited_for(broker: &dyn TestBroker) -> Outcome {
    let store = Arc::new(CountingStore::default());
    store.broken.store(true, Ordering::SeqCst);
    let seen = Recorder::<Place>::new();
    let shared = Idempotency::shared(Arc::clone(&store) as _);
    let sender = Sender::start(broker, |endpoint| {
        endpoint.idempotency(shared).consumer(seen.clone())
    })
    .await?;
    sender.send(1, Uuid::now_v7()).await?;
    eventually("the store was asked again", || async {
        store.begun.load(Ordering::SeqCst) >= 3
    })
    .await;
    assert_eq!(seen.calls(), 0);
    store.broken.store(false, Ordering::SeqCst);
    assert_eq!(seen.next().await.message().number, 1);
    sender.stop_clean(broker).await?;
    assert_eq!(seen.calls(), 1);
    Ok(())
}

/// A store that is late, or never answers, does not make its consumer stand still.
async fn a_store_that_never_answers_does_not_stop_the_consumer(broker: &dyn TestBroker) -> Outcome {
    let store = Arc::new(CountingStore::default());
    store.mute.store(true, Ordering::SeqCst);
    let lease = Duration::from_millis(60);
    let short = Idempotency::shared(Arc::clone(&store) as _).lease(lease);
    let seen = Recorder::<Place>::new();
    let slow = with(
        (seen.clone(), Arc::clone(&store)),
        |(seen, store), ctx: ConsumeContext<Place>| async move {
            eventually("the store is asked", || async {
                store.extended.load(Ordering::SeqCst) > 0
            })
            .await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            seen.note(&ctx);
            Ok(())
        },
    );
    let sender = Sender::start(broker, |endpoint| {
        endpoint.idempotency(short).consumer(slow)
    });
    let sender = sender.await?;
    sender.send(1, Uuid::now_v7()).await?;
    seen.next().await;
    sender.stop_clean(broker).await
}

/// A consumer whose claim was lost has sent nothing: its message goes back, without
/// a fault, and is handled again.
async fn a_consumer_whose_claim_was_lost_has_sent_nothing(broker: &dyn TestBroker) -> Outcome {
    let store = Arc::new(CountingStore::default());
    store.lost.store(1, Ordering::SeqCst);
    let shared = Idempotency::shared(Arc::clone(&store) as _);
    let (seen, events) = (Recorder::<Place>::new(), Recorder::<Ordered>::new());
    let publishing = with(
        seen.clone(),
        |seen, ctx: ConsumeContext<Place>| async move {
            seen.note(&ctx);
            let number = u32::try_from(seen.calls())?;
            Ok(ctx.publish(&Ordered { number }).await?)
        },
    );
    let queue = broker.name("once");
    let listening = broker
        .start(Endpoint::new(broker.name("events")).consumer(events.clone()))
        .await?;
    let endpoint = serial(&queue).idempotency(shared).consumer(publishing);
    let bus = broker.start(endpoint).await?;
    let sender = Sender { bus, queue };
    sender.send(1, Uuid::now_v7()).await?;
    assert_eq!(events.next().await.message().number, 2, "of the second run");
    assert!(seen.take(2).await[1].redelivered());
    sender.stop_clean(broker).await?;
    listening.publish(&Ordered { number: LAST }).await?;
    assert_eq!(events.until_last().await.len(), 0);
    listening.shutdown().await?;
    Ok(())
}

/// The key of a consumer that is cut off after its messages left is not given up.
async fn a_claim_is_not_given_up_once_something_has_left(broker: &dyn TestBroker) -> Outcome {
    let store = Arc::new(CountingStore::default());
    store.forgetful.store(true, Ordering::SeqCst);
    let shared = Idempotency::shared(Arc::clone(&store) as _);
    let events = Recorder::<Ordered>::new();
    let publishing = with((), |(), ctx: ConsumeContext<Place>| async move {
        Ok(ctx.publish(&Ordered { number: 1 }).await?)
    });
    let queue = broker.name("once");
    let listening = Endpoint::new(broker.name("events")).consumer(events.clone());
    let endpoint = Endpoint::new(&queue)
        .idempotency(shared)
        .consumer(publishing);
    let bus = broker.bus().stop_timeout(Duration::from_millis(50));
    let bus = bus.endpoint(listening).endpoint(endpoint).start().await?;
    place(&bus, &queue, 1).await?;
    events.next().await;
    bus.shutdown()
        .await
        .expect_err("it could not be marked as done");
    assert_eq!(store.released.load(Ordering::SeqCst), 0);
    broker.until_depth(&queue, 1).await;
    Ok(())
}

/// Duplicates that wait hold up no other message.
async fn duplicates_that_wait_hold_up_nothing_else(broker: &dyn TestBroker) -> Outcome {
    let gate = Gate::closed();
    let seen = Recorder::<Place>::new();
    let first_waits = with(
        (seen.clone(), gate.clone()),
        |(seen, gate), ctx: ConsumeContext<Place>| async move {
            if ctx.message().number == 0 {
                gate.pass().await;
            }
            seen.note(&ctx);
            Ok(())
        },
    );
    let sender = Sender::start(broker, |endpoint| {
        let endpoint = endpoint.concurrency(2).policy(Policy::new().prefetch(20));
        endpoint.idempotency(once()).consumer(first_waits)
    })
    .await?;
    let id = Uuid::now_v7();
    for _ in 0..6 {
        sender.send(0, id).await?;
    }
    for number in 1..=10 {
        sender.send(number, Uuid::now_v7()).await?;
    }
    assert_eq!(numbers(&seen.take(10).await), (1..=10).collect::<Vec<_>>());
    assert_eq!(gate.waiting(), 1, "its duplicates still wait");
    gate.open();
    assert_eq!(seen.next().await.message().number, 0);
    sender.stop_clean(broker).await?;
    assert_eq!(seen.calls(), 11);
    Ok(())
}

/// With a concurrency of 1 a message keeps its place while its key is held
/// elsewhere.
async fn order_is_kept_while_a_key_is_held(broker: &dyn TestBroker) -> Outcome {
    let store = Arc::new(CountingStore::default());
    let seen = Recorder::<Place>::new();
    let shared = Idempotency::shared(Arc::clone(&store) as _);
    let sender = Sender::start(broker, |endpoint| {
        endpoint
            .concurrency(1)
            .idempotency(shared)
            .consumer(seen.clone())
    })
    .await?;
    let id = Uuid::now_v7();
    let content = Uuid::new_v5(&Uuid::NAMESPACE_OID, id.to_string().as_bytes());
    let key = format!("{}/{id}", sender.queue);
    let Begin::Fresh(crashed) = store.inner.begin(&key, content, Duration::MAX).await? else {
        return Err("the key is new".into());
    };
    sender.send(1, id).await?;
    sender.send(2, Uuid::now_v7()).await?;
    eventually("the first one waits", || async {
        store.begun.load(Ordering::SeqCst) >= 3
    })
    .await;
    store.inner.release(&crashed).await?;
    let order = in_order(&seen.take(2).await);
    assert_eq!(order, [1, 2]);
    sender.stop_clean(broker).await
}

behaviours! { claims:
    endpoints_that_share_a_store_do_not_disturb_each_other,
    instances_that_share_a_store_handle_a_message_once,
    a_handled_message_is_forgotten_in_time,
    a_claim_lasts_as_long_as_its_consumer,
    a_store_that_fails_is_waited_for,
    a_store_that_never_answers_does_not_stop_the_consumer,
    a_consumer_whose_claim_was_lost_has_sent_nothing,
    a_claim_is_not_given_up_once_something_has_left,
    duplicates_that_wait_hold_up_nothing_else,
    order_is_kept_while_a_key_is_held,
}
