//! Messages that are due later: what it costs to send them, and how late they come when many are due at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bus_core::{Bus, BusBuilder, ConsumeContext, ConsumeResult, Consumer, Endpoint};
use bus_rabbitmq::RabbitMq;
use bus_sql::Sql;
use bus_sql::sqlx::Postgres;
use futures_util::{StreamExt, stream};

use crate::bus::Counter;
use crate::child::Place;
use crate::figures::{Figures, Watch};
use crate::load::{Data, IN_FLIGHT, Load, QUEUE};
use crate::message::OrderPlaced;
use crate::store::Store;

/// A wait that does not end during a load.
const HOUR: Duration = Duration::from_secs(3600);

/// Time in which all messages that are due together are sent.
const AHEAD: Duration = Duration::from_secs(20);

/// Messages of one transaction.
const TOGETHER: usize = 100;

/// Connections: one that writes, and what the relay needs.
const CONNECTIONS: u32 = 4;

/// Publishes messages that are due in an hour.
pub(crate) async fn publish(place: &Place, count: usize) -> Figures {
    publish_after(place, count, HOUR).await
}

/// The same messages, at once.
pub(crate) async fn publish_without(place: &Place, count: usize) -> Figures {
    publish_after(place, count, Duration::ZERO).await
}

async fn publish_after(place: &Place, count: usize, wait: Duration) -> Figures {
    let bus = Bus::builder(RabbitMq::new(&*place.url)).start().await;
    let bus = bus.expect("the bus starts");
    // The first one declares what the others need.
    send(&bus, 0, wait).await;
    let watch = Watch::start();
    send_all(&bus, count, wait).await;
    let figures = watch.stop(count);
    bus.shutdown().await.expect("stopped");
    figures
}

async fn send_all(bus: &Bus, count: usize, wait: Duration) {
    let sent = (0..count).map(|number| send(bus, number, wait));
    let mut sent = stream::iter(sent).buffer_unordered(IN_FLIGHT);
    while sent.next().await.is_some() {}
}

async fn send(bus: &Bus, number: usize, wait: Duration) {
    let order = OrderPlaced::new(number as u64, 0);
    bus.publish(&order)
        .deliver_in(wait)
        .await
        .expect("confirmed");
}

/// Consumes messages that are due in one second, and measures how late each comes.
pub(crate) async fn due_together(place: &Place, load: Load, count: usize) -> Figures {
    measure(place, load, count, AHEAD).await
}

/// The same messages, due when they are sent.
pub(crate) async fn due_at_once(place: &Place, load: Load, count: usize) -> Figures {
    measure(place, load, count, Duration::ZERO).await
}

async fn measure(place: &Place, load: Load, count: usize, ahead: Duration) -> Figures {
    let arrivals = Arrivals::expecting(count);
    let endpoint = Endpoint::new(QUEUE).concurrency(64);
    let builder = Bus::builder(RabbitMq::new(&*place.url))
        .endpoint(endpoint.consumer(note(arrivals.clone())));
    let (bus, due) = match load.data {
        Data::None => on_the_broker(builder, count, ahead).await,
        _ => in_the_table(place, builder, count, ahead).await,
    };
    arrivals.counter.complete().await;
    bus.shutdown().await.expect("stopped");
    arrivals.figures(due)
}

async fn on_the_broker(builder: BusBuilder, count: usize, ahead: Duration) -> (Bus, Instant) {
    let bus = builder.start().await.expect("the bus starts");
    let due = Instant::now() + ahead;
    let sent = |number| {
        let bus = bus.clone();
        async move { send(&bus, number, due.saturating_duration_since(Instant::now())).await }
    };
    stream::iter(0..count)
        .map(sent)
        .buffer_unordered(IN_FLIGHT)
        .for_each(std::future::ready)
        .await;
    in_time(due, ahead);
    (bus, due)
}

async fn in_the_table(
    place: &Place,
    builder: BusBuilder,
    count: usize,
    ahead: Duration,
) -> (Bus, Instant) {
    let sql: Sql<Postgres> = Postgres::open(&place.database, CONNECTIONS).await;
    let bus = builder.background(sql.relay()).start().await;
    let bus = bus.expect("the bus starts");
    let due = Instant::now() + ahead;
    for first in (0..count).step_by(TOGETHER) {
        let unit = sql.begin(&bus.sender()).await.expect("begun");
        for number in first..(first + TOGETHER).min(count) {
            let wait = due.saturating_duration_since(Instant::now());
            let order = OrderPlaced::new(number as u64, 0);
            let later = unit.publish(&order).deliver_in(wait);
            later.await.expect("held");
        }
        unit.commit().await.expect("committed");
    }
    in_time(due, ahead);
    (bus, due)
}

/// All must be sent before the first is due.
fn in_time(due: Instant, ahead: Duration) {
    let late = Instant::now() >= due && !ahead.is_zero();
    assert!(!late, "the messages were not sent within {ahead:?}");
}

/// Times at which messages came.
#[derive(Clone)]
struct Arrivals {
    times: Arc<Mutex<Vec<Instant>>>,
    counter: Counter,
}

impl Arrivals {
    fn expecting(count: usize) -> Self {
        Self {
            times: Arc::default(),
            counter: Counter::expecting(count),
        }
    }

    fn note(&self) {
        let now = Instant::now();
        let times = self.times.lock();
        times.unwrap_or_else(PoisonError::into_inner).push(now);
        self.counter.count();
    }

    /// The lateness of the last one.
    fn figures(&self, due: Instant) -> Figures {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let early = times.iter().filter(|time| **time < due).count();
        assert_eq!(early, 0, "messages came before their time");
        let last = times.iter().max().expect("all came");
        Figures {
            latency: (*last - due).as_secs_f64() * 1e3,
            ..Figures::default()
        }
    }
}

fn note(arrivals: Arrivals) -> impl Consumer<OrderPlaced> {
    move |_: ConsumeContext<OrderPlaced>| {
        arrivals.note();
        std::future::ready(ConsumeResult::Ok(()))
    }
}
