//! Two instances of a service that share a store, each by a handle of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bus_core::idempotency::IdempotencyStore;
use bus_core::observe::{Observer, PostReceive, ReceiveOutcome};
use bus_core::{Bus, ConsumeContext, Endpoint, Idempotency, Policy};
use bus_tests::contracts::{Answered, Ask, Place};
use bus_tests::{Gate, InMemoryTestBroker, Recorder, TestBroker, eventually, numbers, with};
use futures_util::future::join_all;
use uuid::Uuid;

/// Makes the tests of one store; the second argument makes the handles of both instances.
macro_rules! tests {
    ($name:ident, $handles:expr) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn racing_duplicates_have_one_effect() {
                crate::behind_a_bus::racing_duplicates_have_one_effect($handles).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_racing_duplicate_waits_without_a_slot() {
                crate::behind_a_bus::a_racing_duplicate_waits_without_a_slot($handles).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn another_instance_gives_the_stored_reply() {
                crate::behind_a_bus::another_instance_gives_the_stored_reply($handles).await;
            }
        }
    };
}
pub(crate) use tests;

type Handles<S> = [Arc<S>; 2];

fn once<S: IdempotencyStore>(store: Arc<S>) -> Idempotency {
    Idempotency::shared(store)
}

/// Counts what became of deliveries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count {
    handled: Arc<AtomicU32>,
    duplicates: Arc<AtomicU32>,
}

impl Count {
    /// Those that were handled, and those that were duplicates.
    pub(crate) fn read(&self) -> (u32, u32) {
        let read = |count: &AtomicU32| count.load(Ordering::SeqCst);
        (read(&self.handled), read(&self.duplicates))
    }

    /// Waits until so many deliveries are settled.
    pub(crate) async fn settle(&self, deliveries: u32) {
        eventually("all are settled", async || {
            let (handled, duplicates) = self.read();
            handled + duplicates == deliveries
        })
        .await;
    }
}

impl Observer for Count {
    fn post_receive(&self, received: &PostReceive<'_>) {
        match received.outcome {
            ReceiveOutcome::Handled => self.handled.fetch_add(1, Ordering::SeqCst),
            ReceiveOutcome::Duplicate => self.duplicates.fetch_add(1, Ordering::SeqCst),
            _ => return,
        };
    }
}

/// Effects by message.
type Effects = Arc<Mutex<BTreeMap<Uuid, u32>>>;

/// A hundred messages, each of which comes three times at once.
pub(crate) async fn racing_duplicates_have_one_effect<S: IdempotencyStore>(handles: Handles<S>) {
    let broker: &dyn TestBroker = &InMemoryTestBroker::new();
    let (queue, count, effects) = (broker.name("once"), Count::default(), Effects::default());
    let mut instances = Vec::new();
    for store in handles {
        let consumer = with(
            effects.clone(),
            async |effects: Effects, ctx: ConsumeContext<Place>| {
                tokio::task::yield_now().await;
                let id = ctx.message_id().expect("sent with an id");
                *effects.lock().expect("no panic").entry(id).or_default() += 1;
                Ok(())
            },
        );
        let endpoint = Endpoint::new(&queue)
            .concurrency(8)
            .idempotency(once(store))
            .consumer(consumer);
        let bus = broker.bus().observe(count.clone()).endpoint(endpoint);
        instances.push(bus.start().await.expect("started"));
    }
    for round in 0..100 {
        let id = Uuid::now_v7();
        let sends = (0..3).map(|_| {
            let sending = instances[0].send_to(format!("queue:{queue}"), &Place { number: round });
            sending.message_id(id).into_future()
        });
        for sent in join_all(sends).await {
            sent.expect("sent");
        }
    }
    count.settle(300).await;
    assert_eq!(count.read(), (100, 200));
    let effects = effects.lock().expect("no panic").clone();
    assert!(effects.values().all(|count| *count == 1), "{effects:?}");
    stop(broker, &queue, instances).await;
}

/// More duplicates than both instances have slots wait for a message; others are handled meanwhile.
pub(crate) async fn a_racing_duplicate_waits_without_a_slot<S: IdempotencyStore>(
    handles: Handles<S>,
) {
    let broker: &dyn TestBroker = &InMemoryTestBroker::new();
    let queue = broker.name("once");
    let (gate, seen) = (Gate::closed(), Recorder::<Place>::new());
    let mut instances = Vec::new();
    for store in handles {
        let shared = (seen.clone(), gate.clone());
        let consumer = with(
            shared,
            async |(seen, gate): (Recorder<_>, Gate), ctx: ConsumeContext<Place>| {
                if ctx.message().number == 0 {
                    gate.pass().await;
                }
                seen.note(&ctx);
                Ok(())
            },
        );
        let endpoint = Endpoint::new(&queue)
            .concurrency(2)
            .policy(Policy::new().prefetch(20))
            .idempotency(once(store).by(|command: &Place| command.number.to_string()))
            .consumer(consumer);
        instances.push(broker.start(endpoint).await.expect("started"));
    }
    for number in [0; 7].into_iter().chain(1..=10) {
        let sending = instances[0].send_to(format!("queue:{queue}"), &Place { number });
        sending.await.expect("sent");
    }
    assert_eq!(numbers(&seen.take(10).await), (1..=10).collect::<Vec<_>>());
    assert_eq!(gate.waiting(), 1, "its duplicates wait before the consumer");
    gate.open();
    assert_eq!(seen.next().await.message().number, 0);
    stop(broker, &queue, instances).await;
    assert_eq!(seen.calls(), 11);
}

/// A request that was answered by one instance gets the same answer from the other one.
pub(crate) async fn another_instance_gives_the_stored_reply<S: IdempotencyStore>(
    handles: Handles<S>,
) {
    let broker: &dyn TestBroker = &InMemoryTestBroker::new();
    let (queue, client) = (
        broker.name("once"),
        broker.bus().start().await.expect("started"),
    );
    let asked = Recorder::<Ask>::new();
    for (number, store) in (100..).zip(handles) {
        let shared = (asked.clone(), number);
        let consumer = with(
            shared,
            async |(asked, number): (Recorder<_>, u32), ctx: ConsumeContext<Ask>| {
                asked.note(&ctx);
                Ok(ctx
                    .respond(&Answered { number })
                    .header("Fraction", 0.5)
                    .await?)
            },
        );
        let endpoint = Endpoint::new(&queue)
            .idempotency(once(store))
            .consumer(consumer);
        let instance = broker.start(endpoint).await.expect("started");
        let reply = client
            .request::<Answered>(&Ask { number: 7 })
            .to(format!("queue:{queue}"))
            .header("Idempotency-Key", "seven")
            .response()
            .await
            .expect("a reply");
        assert_eq!(reply.message().number, 100);
        assert_eq!(reply.headers().get("Fraction"), Some(&0.5.into()));
        instance.shutdown().await.expect("stopped");
    }
    assert_eq!(asked.calls(), 1);
    stop(broker, &queue, vec![client]).await;
}

/// Stops, and proves that everything was settled and nothing failed.
async fn stop(broker: &dyn TestBroker, queue: &str, instances: Vec<Bus>) {
    for bus in instances {
        bus.shutdown().await.expect("stopped");
    }
    assert_eq!(broker.depth(queue).await, Some(0));
    let failed = broker.depth(&format!("{queue}_error")).await;
    assert_eq!(failed.unwrap_or(0), 0);
}
