//! The bus, with its default policies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint};
use bus_rabbitmq::RabbitMq;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::Notify;

use crate::figures::{Figures, Watch};
use crate::load::{GetStock, IN_FLIGHT, OrderPlaced, Stock};
use crate::stage::Store;

/// The queue of the loads.
pub(crate) const QUEUE: &str = "orders";

/// Counts what is consumed, and tells when all of it was.
#[derive(Clone, Default)]
pub(crate) struct Counter {
    consumed: Arc<AtomicUsize>,
    expected: Arc<AtomicUsize>,
    complete: Arc<Notify>,
}

impl Counter {
    fn expect(&self, count: usize) {
        self.consumed.store(0, Ordering::Relaxed);
        self.expected.store(count, Ordering::Relaxed);
    }

    fn count(&self) {
        let consumed = self.consumed.fetch_add(1, Ordering::Relaxed) + 1;
        if consumed == self.expected.load(Ordering::Relaxed) {
            self.complete.notify_one();
        }
    }
}

/// A bus with one endpoint that counts.
pub(crate) struct Subject {
    bus: Bus,
    counter: Counter,
}

impl Subject {
    pub(crate) async fn start(url: &str, store: Store) -> Self {
        let counter = Counter::default();
        let counting = counter.clone();
        let consume = move |_: ConsumeContext<OrderPlaced>| {
            counting.count();
            std::future::ready(ConsumeResult::Ok(()))
        };
        let prefetch = u16::try_from(IN_FLIGHT).expect("it fits");
        let endpoint = Endpoint::new(QUEUE).prefetch(prefetch).concurrency(64);
        let endpoint = match store {
            Store::Classic => endpoint,
            Store::Quorum => endpoint.plain_quorum(),
        };
        let bus = Bus::builder(RabbitMq::new(url))
            .endpoint(endpoint.consumer(consume))
            .start()
            .await
            .expect("the bus starts");
        let subject = Self { bus, counter };
        subject.endpoint().pause().await;
        subject
    }

    fn endpoint(&self) -> bus_core::EndpointHandle {
        self.bus.endpoint(QUEUE).expect("it is there")
    }

    pub(crate) async fn publish(&self, count: usize) -> Figures {
        let watch = Watch::start();
        self.publish_all(count).await;
        watch.stop(count)
    }

    async fn publish_all(&self, count: usize) {
        let publish = |number| async move {
            let order = OrderPlaced::new(number);
            self.bus.publish(&order).await.expect("confirmed");
        };
        let mut sent = stream::iter(0..count as u64)
            .map(publish)
            .buffer_unordered(IN_FLIGHT);
        while sent.next().await.is_some() {}
    }

    pub(crate) async fn consume(&self, count: usize) -> Figures {
        self.counter.expect(count);
        let watch = Watch::start();
        self.endpoint().resume().await.expect("resumed");
        self.counter.complete.notified().await;
        // Until the last acknowledgement is written.
        self.endpoint().pause().await;
        watch.stop(count)
    }

    pub(crate) async fn end_to_end(&self, count: usize) -> Figures {
        self.counter.expect(count);
        self.endpoint().resume().await.expect("resumed");
        let watch = Watch::start();
        self.publish_all(count).await;
        self.counter.complete.notified().await;
        let figures = watch.stop(count);
        self.endpoint().pause().await;
        figures
    }

    pub(crate) async fn stop(self) {
        self.bus.shutdown().await.expect("stopped");
    }
}

async fn answer(ctx: ConsumeContext<GetStock>) -> ConsumeResult {
    let number = ctx.message().number;
    ctx.respond(&Stock { number }).await?;
    Ok(())
}

/// Two buses: one asks, the other answers.
pub(crate) async fn request(url: &str, count: usize, in_flight: usize) -> Figures {
    let endpoint = Endpoint::new("stock").concurrency(in_flight.max(16));
    let answering = Bus::builder(RabbitMq::new(url))
        .endpoint(endpoint.consumer(answer))
        .start()
        .await
        .expect("the bus starts");
    let asking = Bus::builder(RabbitMq::new(url))
        .route::<GetStock>("queue:stock")
        .start()
        .await
        .expect("the bus starts");
    let _first: Stock = asking
        .request(&GetStock { number: 0 })
        .await
        .expect("answered");
    let watch = Watch::start();
    let ask = |number| {
        let asking = &asking;
        async move {
            let started = Instant::now();
            let stock: Stock = asking
                .request(&GetStock { number })
                .await
                .expect("answered");
            assert_eq!(stock.number, number);
            started.elapsed()
        }
    };
    let asked = stream::iter(0..count as u64)
        .map(ask)
        .buffer_unordered(in_flight);
    let latencies: Vec<_> = asked.collect().await;
    let mut figures = watch.stop(count);
    figures.latency = middle(latencies);
    asking.shutdown().await.expect("stopped");
    answering.shutdown().await.expect("stopped");
    figures
}

/// The middle one, in microseconds.
pub(crate) fn middle(mut latencies: Vec<Duration>) -> f64 {
    latencies.sort_unstable();
    latencies
        .get(latencies.len() / 2)
        .map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
}
