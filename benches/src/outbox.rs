//! Transactions with messages, and the relay that sends them.

use std::time::{Duration, Instant};

use bus_core::Bus;
use bus_core::send::Sender;
use bus_rabbitmq::RabbitMq;
use bus_sql::sqlx::{Postgres, Sqlite};
use bus_sql::{OutboxRow, Sql};
use futures_util::future::join_all;

use crate::child::Place;
use crate::confirms::Confirms;
use crate::figures::{Figures, Watch};
use crate::load::{Data, Load};
use crate::message::OrderPlaced;
use crate::store::{Store, sample};

/// Connections beside those of the writers: what the relay needs.
const RELAY: u32 = 3;

/// Time between two messages of an idle application: the relay sleeps again.
const PAUSE: Duration = Duration::from_millis(20);

/// Commits messages until all are confirmed.
pub(crate) async fn run(place: &Place, load: Load, count: usize) -> Figures {
    match load.data {
        Data::Sqlite => run_on::<Sqlite>(place, load, count).await,
        _ => run_on::<Postgres>(place, load, count).await,
    }
}

/// The same transactions without an outbox; in SQLite with the rows, but without a bus.
pub(crate) async fn without(place: &Place, load: Load, count: usize) -> Figures {
    match load.data {
        Data::Sqlite => without_on::<Sqlite>(place, load, count, load.together).await,
        _ => without_on::<Postgres>(place, load, count, 0).await,
    }
}

async fn open<DB: Store>(place: &Place, writers: usize) -> Sql<DB> {
    let writers = u32::try_from(writers).expect("few");
    DB::open(&place.database, writers + RELAY).await
}

/// A bus that relays what is committed.
async fn relaying<DB: Store>(place: &Place, sql: &Sql<DB>) -> (Bus, Confirms) {
    let confirms = Confirms::default();
    let bus = Bus::builder(RabbitMq::new(&*place.url))
        .background(sql.relay())
        .observe(confirms.clone());
    (bus.start().await.expect("the bus starts"), confirms)
}

async fn run_on<DB: Store>(place: &Place, load: Load, count: usize) -> Figures {
    let sql = open::<DB>(place, load.tasks).await;
    let (bus, confirms) = relaying(place, &sql).await;
    // The first message declares its exchange.
    commit(&sql, &bus.sender(), -1, 1).await;
    confirms.reach(1).await;
    let watch = Watch::start();
    let writers = shares(load, count).map(|numbers| {
        let (sql, sender) = (sql.clone(), bus.sender());
        tokio::spawn(async move {
            for number in numbers {
                commit(&sql, &sender, number, load.together).await;
            }
        })
    });
    for writer in join_all(writers).await {
        writer.expect("committed");
    }
    confirms.reach(1 + count).await;
    let figures = watch.stop(count);
    bus.shutdown().await.expect("stopped");
    let left = sql.backlog().await.expect("counted");
    assert_eq!(left.waiting, 0, "rows that were sent stay in the outbox");
    figures
}

/// The numbers of the transactions of each writer.
fn shares(load: Load, count: usize) -> impl Iterator<Item = std::ops::Range<i64>> {
    let transactions = count / load.together;
    assert_eq!(transactions * load.together, count, "whole transactions");
    let at = move |task: usize| i64::try_from(transactions * task / load.tasks).expect("small");
    (0..load.tasks).map(move |task| at(task)..at(task + 1))
}

/// A row of the application, and messages of it.
async fn commit<DB: Store>(sql: &Sql<DB>, sender: &Sender, number: i64, messages: usize) {
    let mut unit = sql.begin(sender).await.expect("begun");
    DB::own_row(unit.conn(), number).await;
    for _ in 0..messages {
        let order = OrderPlaced::new(number.unsigned_abs(), 0);
        unit.publish(&order).await.expect("held");
    }
    unit.commit().await.expect("committed");
}

async fn without_on<DB: Store>(place: &Place, load: Load, count: usize, rows: usize) -> Figures {
    let sql = open::<DB>(place, load.tasks).await;
    let bus = Bus::builder(RabbitMq::new(&*place.url)).start().await;
    let bus = bus.expect("the bus starts");
    let row = sample(&sql, &bus.sender()).await;
    let watch = Watch::start();
    let writers = shares(load, count).map(|numbers| {
        let (sql, row) = (sql.clone(), row.clone());
        tokio::spawn(async move {
            for number in numbers {
                commit_plain(&sql, number, &row, rows).await;
            }
        })
    });
    for writer in join_all(writers).await {
        writer.expect("committed");
    }
    let figures = watch.stop(count);
    bus.shutdown().await.expect("stopped");
    figures
}

async fn commit_plain<DB: Store>(sql: &Sql<DB>, number: i64, row: &OutboxRow, rows: usize) {
    let mut tx = DB::begin_plain(sql).await;
    DB::own_row(&mut tx, number).await;
    for _ in 0..rows {
        DB::outbox_row(&mut tx, row).await;
    }
    tx.commit().await.expect("committed");
}

/// From each commit to the confirm of its message, one after the other, with pauses.
pub(crate) async fn idle(place: &Place, count: usize) -> Figures {
    let sql = open::<Postgres>(place, 1).await;
    let (bus, confirms) = relaying(place, &sql).await;
    let mut latencies = Vec::with_capacity(count);
    let watch = Watch::start();
    for number in 0..=count {
        let at = i64::try_from(number).expect("small");
        commit(&sql, &bus.sender(), at, 1).await;
        let committed = Instant::now();
        confirms.reach(number + 1).await;
        latencies.push(committed.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    // The first message declares its exchange.
    latencies.remove(0);
    let figures = watch.stop_with(latencies);
    bus.shutdown().await.expect("stopped");
    figures
}

/// A commit, and then a publish that is confirmed.
pub(crate) async fn idle_without(place: &Place, count: usize) -> Figures {
    let sql = open::<Postgres>(place, 1).await;
    let bus = Bus::builder(RabbitMq::new(&*place.url)).start().await;
    let bus = bus.expect("the bus starts");
    let mut latencies = Vec::with_capacity(count);
    let watch = Watch::start();
    for number in 0..=count {
        let at = i64::try_from(number).expect("small");
        let mut tx = Postgres::begin_plain(&sql).await;
        Postgres::own_row(&mut tx, at).await;
        tx.commit().await.expect("committed");
        let committed = Instant::now();
        let order = OrderPlaced::new(number as u64, 0);
        bus.publish(&order).await.expect("confirmed");
        latencies.push(committed.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    latencies.remove(0);
    let figures = watch.stop_with(latencies);
    bus.shutdown().await.expect("stopped");
    figures
}
