//! Batches on paused time: what they wait for, and deliveries that end before them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus_core::batch::{Batch, Batching};
use bus_core::observe::EndpointState;
use bus_core::topology::Queue;
use bus_core::{
    Bus, ConsumeContext, ConsumeError, ConsumeResult, Endpoint, Message, Middleware, Next, Policy,
    async_trait, queue,
};
use bus_inmemory::{Harness, InMemory};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Weather:Reading")]
struct Reading {
    number: u32,
}

/// When a batch was consumed, and the numbers of its messages.
type Entry = (Duration, Vec<u32>);

/// The batches that were consumed, each with the time since the start.
#[derive(Clone)]
struct Diary {
    begin: Instant,
    batches: Arc<Mutex<Vec<Entry>>>,
}

impl Diary {
    fn begin() -> Self {
        Self {
            begin: Instant::now(),
            batches: Arc::default(),
        }
    }

    fn note(&self, batch: &Batch<Reading>) {
        let mut numbers: Vec<_> = batch.messages().map(|reading| reading.number).collect();
        numbers.sort_unstable();
        let entry = (self.begin.elapsed(), numbers);
        self.batches.lock().expect("no panic").push(entry);
    }

    /// The numbers of the batches so far.
    fn numbers(&self) -> Vec<Vec<u32>> {
        let batches = self.batches.lock().expect("no panic");
        batches.iter().map(|(_, numbers)| numbers.clone()).collect()
    }

    /// The whole seconds at which the batches so far were consumed.
    fn seconds(&self) -> Vec<u64> {
        let batches = self.batches.lock().expect("no panic");
        batches.iter().map(|(time, _)| time.as_secs()).collect()
    }
}

async fn send(harness: &Harness, numbers: impl IntoIterator<Item = u32>) -> Outcome {
    for number in numbers {
        harness
            .send_to(queue("readings"), &Reading { number })
            .await?;
    }
    Ok(())
}

async fn start(endpoint: Endpoint) -> Result<Harness, Box<dyn std::error::Error>> {
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await?;
    Ok(harness.timeout(3_600 * SECOND))
}

fn within(seconds: u32) -> Batching<Reading> {
    Batching::of(10).within(seconds * SECOND)
}

#[tokio::test(start_paused = true)]
async fn the_time_counts_from_the_first_member_on() -> Outcome {
    let diary = Diary::begin();
    let noted = diary.clone();
    let consumer = move |batch: Batch<Reading>| {
        noted.note(&batch);
        async { ConsumeResult::Ok(()) }
    };
    let harness = start(Endpoint::new("readings").batch(within(10), consumer)).await?;
    send(&harness, [1]).await?;
    tokio::time::sleep(6 * SECOND).await;
    send(&harness, [2]).await?;
    harness.quiescent().await;
    assert_eq!(
        (diary.numbers(), diary.seconds()),
        (vec![vec![1, 2]], vec![10])
    );
    harness.shutdown().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_waits_for_its_turn_goes_on_collecting() -> Outcome {
    let diary = Diary::begin();
    let noted = diary.clone();
    let slow = move |batch: Batch<Reading>| {
        noted.note(&batch);
        async {
            tokio::time::sleep(60 * SECOND).await;
            ConsumeResult::Ok(())
        }
    };
    let harness = start(Endpoint::new("readings").batch(within(1), slow)).await?;
    for number in 0..3 {
        send(&harness, [number]).await?;
        tokio::time::sleep(5 * SECOND).await;
    }
    harness.quiescent().await;
    assert_eq!(diary.numbers(), [vec![0], vec![1, 2]]);
    assert_eq!(diary.seconds(), [1, 61]);
    harness.shutdown().await?;
    Ok(())
}

/// Drops the message of this number after five seconds, or every message.
struct Impatient(Option<u32>);

#[async_trait]
impl Middleware for Impatient {
    async fn handle(&self, ctx: ConsumeContext, next: Next) -> ConsumeResult {
        let number = ctx
            .message()
            .downcast_ref()
            .map(|reading: &Reading| reading.number);
        if self.0.is_some_and(|only| number != Some(only)) {
            return next.run(ctx).await;
        }
        let ended = tokio::time::timeout(5 * SECOND, next.run(ctx)).await;
        ended.unwrap_or_else(|_| Err(ConsumeError::permanent("dropped")))
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_ends_leaves_its_batch() -> Outcome {
    let diary = Diary::begin();
    let noted = diary.clone();
    let consumer = move |batch: Batch<Reading>| {
        noted.note(&batch);
        async { ConsumeResult::Ok(()) }
    };
    let endpoint = Endpoint::new("readings")
        .batch(within(10), consumer)
        .policy(Policy::new().around_attempt(Impatient(Some(1))));
    let harness = start(endpoint).await?;
    send(&harness, 0..3).await?;
    harness.quiescent().await;
    assert_eq!(diary.numbers(), [[0, 2]]);
    assert_eq!(harness.faulted::<Reading>().only().number, 1);
    harness.shutdown().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_ends_during_the_call_ends_no_other() -> Outcome {
    let endpoint = Endpoint::new("readings")
        .batch(within(1), |_: Batch<Reading>| async {
            tokio::time::sleep(60 * SECOND).await;
            ConsumeResult::Ok(())
        })
        .policy(Policy::new().around_attempt(Impatient(Some(1))));
    let harness = start(endpoint).await?;
    send(&harness, 0..3).await?;
    harness.quiescent().await;
    assert_eq!(harness.consumed::<Reading>().count(), 2);
    assert_eq!(harness.faulted::<Reading>().only().number, 1);
    harness.shutdown().await?;
    Ok(())
}

/// Notes that the future which holds it was dropped before its end.
struct Unfinished(Arc<AtomicBool>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_deliveries_have_all_ended_is_dropped() -> Outcome {
    let is_dropped = Arc::new(AtomicBool::new(false));
    let endless = {
        let is_dropped = Arc::clone(&is_dropped);
        move |_: Batch<Reading>| {
            let unfinished = Unfinished(Arc::clone(&is_dropped));
            async move {
                std::future::pending::<()>().await;
                drop(unfinished);
                ConsumeResult::Ok(())
            }
        }
    };
    let endpoint = Endpoint::new("readings")
        .batch(within(1), endless)
        .policy(Policy::new().around_attempt(Impatient(None)));
    let harness = start(endpoint).await?;
    send(&harness, 0..3).await?;
    harness.quiescent().await;
    assert_eq!(harness.faulted::<Reading>().count(), 3);
    tokio::task::yield_now().await;
    assert!(is_dropped.load(Ordering::SeqCst));
    harness.shutdown().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn members_that_wait_for_something_stay_together() -> Outcome {
    let diary = Diary::begin();
    let (noted, calls) = (diary.clone(), AtomicUsize::new(0));
    let consumer = move |batch: Batch<Reading>| {
        noted.note(&batch);
        let is_away = calls.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if is_away {
                return Err(ConsumeError::unavailable("the database is away"));
            }
            Ok(())
        }
    };
    let harness = start(Endpoint::new("readings").batch(within(5), consumer)).await?;
    send(&harness, 0..3).await?;
    harness.quiescent().await;
    assert_eq!(diary.numbers(), [[0, 1, 2], [0, 1, 2]]);
    let records = harness.consumed::<Reading>().all();
    assert!(
        records.iter().all(|record| record.attempts() == 1),
        "not counted"
    );
    harness.shutdown().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_member_may_pause_its_endpoint() -> Outcome {
    let paused = Arc::new(Notify::new());
    let consumer = {
        let paused = Arc::clone(&paused);
        move |batch: Batch<Reading>| {
            let paused = Arc::clone(&paused);
            async move {
                batch.members()[0].context().endpoint_control().pause();
                paused.notify_one();
                ConsumeResult::Ok(())
            }
        }
    };
    let harness = start(Endpoint::new("readings").batch(within(1), consumer)).await?;
    send(&harness, 0..3).await?;
    paused.notified().await;
    let endpoint = harness.bus().endpoint("readings").ok_or("it is there")?;
    endpoint.pause().await;
    assert_eq!(endpoint.health().state, EndpointState::Paused);
    assert_eq!(harness.consumed::<Reading>().count(), 3);
    harness.shutdown().await?;
    Ok(())
}

/// An endpoint on a queue that counts how often a message was delivered.
fn quorum() -> Endpoint {
    Endpoint::on(Queue::quorum("readings"))
}

/// Starts a bus that dies while it consumes one batch.
async fn die(transport: &InMemory) -> Outcome {
    let called = Arc::new(Notify::new());
    let endless = {
        let called = Arc::clone(&called);
        move |_: Batch<Reading>| {
            called.notify_one();
            std::future::pending::<ConsumeResult>()
        }
    };
    let bus = Bus::builder(transport.clone())
        .endpoint(quorum().batch(within(1), endless))
        .start()
        .await?;
    called.notified().await;
    drop(bus);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_message_that_processes_seem_to_die_of_is_alone() -> Outcome {
    let transport = InMemory::new();
    let sender = Bus::builder(transport.clone())
        .endpoint(
            quorum()
                .batch(within(1), |_: Batch<Reading>| async {
                    ConsumeResult::Ok(())
                })
                .policy(Policy::new().start_paused()),
        )
        .start()
        .await?;
    let send = async |number| sender.send_to(queue("readings"), &Reading { number }).await;
    send(1).await?;
    die(&transport).await?;
    die(&transport).await?;
    send(2).await?;
    let diary = Diary::begin();
    let noted = diary.clone();
    let consumer = move |batch: Batch<Reading>| {
        noted.note(&batch);
        async { ConsumeResult::Ok(()) }
    };
    let endpoint = quorum().batch(within(10), consumer);
    let harness = Harness::start_on(transport, |bus| bus.endpoint(endpoint)).await?;
    harness.quiescent().await;
    assert_eq!(diary.numbers(), [[1], [2]]);
    assert_eq!(diary.seconds(), [0, 10]);
    harness.shutdown().await?;
    sender.shutdown().await?;
    Ok(())
}
