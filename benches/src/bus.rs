//! The bus, with its default policies, under the loads of a broker.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bus_core::idempotency::MemoryIdempotencyStore;
use bus_core::topology::Queue;
use bus_core::{
    Address, Bus, ConsumeContext, ConsumeResult, Consumer, Endpoint, Idempotency, Policy,
};
use bus_rabbitmq::RabbitMq;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use tokio::sync::Notify;

use crate::figures::{Figures, Watch};
use crate::load::{Load, Share, Store, Work, new_queue};
use crate::message::OrderPlaced;

/// Counts what is consumed, and tells when all of it was.
#[derive(Clone, Default)]
pub(crate) struct Counter(Arc<Counted>);

#[derive(Default)]
struct Counted {
    consumed: AtomicUsize,
    expected: AtomicUsize,
    first: Mutex<Option<Watch>>,
    complete: Notify,
    all_but_one: Notify,
}

impl Counter {
    pub(crate) fn expecting(count: usize) -> Self {
        let counter = Self::default();
        counter.expect(count);
        counter
    }

    fn expect(&self, count: usize) {
        self.0.consumed.store(0, Ordering::Relaxed);
        self.0.expected.store(count, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) {
        let before = self.0.consumed.fetch_add(1, Ordering::Relaxed);
        if before == 0 {
            let mut first = self.0.first.lock().unwrap_or_else(PoisonError::into_inner);
            *first = Some(Watch::start());
        }
        let left = self.0.expected.load(Ordering::Relaxed) - before - 1;
        match left {
            0 => self.0.complete.notify_one(),
            1 => self.0.all_but_one.notify_one(),
            _ => (),
        }
    }

    pub(crate) async fn complete(&self) {
        self.0.complete.notified().await;
    }

    /// Started by the first message.
    pub(crate) fn watch(&self) -> Watch {
        let first = self.0.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.expect("something was consumed")
    }
}

/// A bus with an endpoint for each queue of a load, which counts.
pub(crate) struct Subject {
    bus: Bus,
    load: Load,
    counter: Counter,
}

impl Subject {
    pub(crate) async fn start(url: &str, load: Load, counter: Counter) -> Self {
        let mut builder = Bus::builder(RabbitMq::new(url));
        for queue in load.queue_names() {
            builder = builder.endpoint(endpoint(queue, &load, &counter));
        }
        let bus = builder.start().await.expect("the bus starts");
        Self { bus, load, counter }
    }

    /// Publishes and consumes so many.
    pub(crate) async fn end_to_end(&self, count: usize) -> Figures {
        self.counter.expect(count);
        let watch = Watch::start();
        publish_all(&self.bus, &self.load, count).await;
        self.counter.complete().await;
        watch.stop(count)
    }

    /// Until the last acknowledgement is written.
    async fn pause(&self) {
        let queues = self.load.queue_names();
        let endpoints = queues.iter().filter_map(|queue| self.bus.endpoint(queue));
        join_all(endpoints.map(|endpoint| async move { endpoint.pause().await })).await;
    }

    pub(crate) async fn stop(self) {
        self.bus.shutdown().await.expect("stopped");
    }
}

fn endpoint(queue: String, load: &Load, counter: &Counter) -> Endpoint {
    let queue = match load.store {
        Store::Classic => Queue::classic(queue),
        Store::Quorum => Queue::plain_quorum(queue),
    };
    let policy = Policy::new().prefetch(load.prefetch());
    let policy = match load.work {
        Work::ConsumeIdempotent => {
            policy.idempotency(Idempotency::new(MemoryIdempotencyStore::new()))
        }
        _ => policy,
    };
    let endpoint = Endpoint::on(queue)
        .policy(policy)
        .concurrency(usize::from(load.prefetch()).min(64));
    let endpoint = match load.work {
        Work::ConsumeBesideHeld => endpoint.consumer(count_beside_held(counter.clone())),
        _ => endpoint.consumer(count(counter.clone())),
    };
    match load.work {
        Work::Spread => endpoint.without_subscriptions(),
        _ => endpoint,
    }
}

fn count(counter: Counter) -> impl Consumer<OrderPlaced> {
    move |_: ConsumeContext<OrderPlaced>| {
        counter.count();
        std::future::ready(ConsumeResult::Ok(()))
    }
}

/// Keeps the first message open until all others were counted.
fn count_beside_held(counter: Counter) -> impl Consumer<OrderPlaced> {
    let is_first = AtomicBool::new(true);
    move |_: ConsumeContext<OrderPlaced>| {
        let (counter, is_held) = (counter.clone(), is_first.swap(false, Ordering::Relaxed));
        async move {
            if is_held {
                counter.0.all_but_one.notified().await;
            }
            counter.count();
            ConsumeResult::Ok(())
        }
    }
}

/// A bus that consumes nothing.
async fn sender(url: &str) -> Bus {
    let bus = Bus::builder(RabbitMq::new(url)).start().await;
    bus.expect("the bus starts")
}

/// Declares the queues of a load.
pub(crate) async fn declare(url: &str, load: Load) {
    let subject = Subject::start(url, load, Counter::default()).await;
    subject.stop().await;
}

pub(crate) async fn publish(url: &str, load: Load, count: usize) -> Figures {
    let bus = sender(url).await;
    let watch = Watch::start();
    tokio::join!(
        publish_all(&bus, &load, count),
        send_to_new_queues(&bus, load.new_queues(count)),
    );
    let figures = watch.stop(count);
    bus.shutdown().await.expect("stopped");
    figures
}

/// Sends to one queue after the other, each of which must be declared first.
async fn send_to_new_queues(bus: &Bus, count: usize) {
    for number in 0..count {
        let to = Address::queue(new_queue(number));
        let sent = bus.send_to(to, &OrderPlaced::new(number as u64, 0));
        sent.await.expect("confirmed");
    }
}

/// Consumes what is in the queue. The watch runs from the first message.
pub(crate) async fn consume(url: &str, load: Load, count: usize) -> Figures {
    let counter = Counter::expecting(count);
    let subject = Subject::start(url, load, counter.clone()).await;
    counter.complete().await;
    subject.pause().await;
    let figures = counter.watch().stop(count);
    subject.stop().await;
    figures
}

pub(crate) async fn end_to_end(url: &str, load: Load, count: usize) -> Figures {
    let subject = Subject::start(url, load, Counter::default()).await;
    let figures = subject.end_to_end(count).await;
    subject.pause().await;
    subject.stop().await;
    figures
}

async fn publish_all(bus: &Bus, load: &Load, count: usize) {
    let tasks = load
        .shares(count)
        .into_iter()
        .map(|share| tokio::spawn(publish_share(bus.clone(), *load, share)));
    for task in join_all(tasks).await {
        task.expect("published");
    }
}

async fn publish_share(bus: Bus, load: Load, share: Share) {
    let queues: Vec<Address> = match load.work {
        Work::Spread => load.queue_names().into_iter().map(Address::queue).collect(),
        _ => Vec::new(),
    };
    let publish = |number: usize| {
        let (bus, queues) = (&bus, &queues);
        async move {
            let order = OrderPlaced::new(number as u64, load.text);
            let sending = match queues.len() {
                0 => bus.publish(&order),
                length => bus.send_to(queues[number % length].clone(), &order),
            };
            sending.await.expect("confirmed");
        }
    };
    let mut sent = stream::iter(0..share.count)
        .map(publish)
        .buffer_unordered(share.in_flight);
    while sent.next().await.is_some() {}
}
