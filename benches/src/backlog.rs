//! The relay, with a backlog.

use std::time::Instant;

use bus_core::Bus;
use bus_rabbitmq::RabbitMq;
use bus_sql::sqlx::{self, Postgres};

use crate::child::Place;
use crate::confirms::Confirms;
use crate::figures::Figures;
use crate::process::resident_memory;
use crate::store::{Store, sample};

/// Connections of a process that only relays.
const CONNECTIONS: u32 = 4;

/// Makes a backlog of copies of one message. No queue is bound: what is measured is the relay, not how a broker fills
/// up.
pub(crate) async fn prepare(place: &Place, count: usize) {
    let sql = Postgres::open(&place.database, CONNECTIONS).await;
    let bus = Bus::builder(RabbitMq::new(&*place.url)).start().await;
    let bus = bus.expect("the bus starts");
    let row = sample(&sql, &bus.sender()).await;
    bus.shutdown().await.expect("stopped");
    let backlog = "INSERT INTO bus_outbox (part, destination, topology, metadata, body) \
                   SELECT 0, $1, $2, $3, $4 FROM generate_series(1, $5::int8)";
    let made = sqlx::query(backlog)
        .bind(&row.destination)
        .bind(row.topology)
        .bind(&row.metadata)
        .bind(&*row.body)
        .bind(i64::try_from(count).expect("fewer"))
        .execute(sql.pool());
    made.await.expect("inserted");
    for statement in ["VACUUM (ANALYZE) bus_outbox", "CHECKPOINT"] {
        sqlx::query(statement)
            .execute(sql.pool())
            .await
            .expect("done");
    }
}

/// Relays it: the rate of the last tenth, and that of the first.
#[allow(clippy::cast_precision_loss)] // counts of messages are small
pub(crate) async fn relay(place: &Place, count: usize) -> Figures {
    let sql = Postgres::open(&place.database, CONNECTIONS).await;
    let confirms = Confirms::default();
    let tenth = count / 10;
    let rate = |since: Instant| tenth as f64 / since.elapsed().as_secs_f64();
    let bus = Bus::builder(RabbitMq::new(&*place.url))
        .background(sql.relay())
        .observe(confirms.clone());
    let bus = bus.start().await.expect("the bus starts");
    confirms.reach(1).await;
    let started = Instant::now();
    confirms.reach(1 + tenth).await;
    let (rate_before, resident_before) = (rate(started), resident_memory());
    confirms.reach(count - tenth).await;
    let late = Instant::now();
    confirms.reach(count).await;
    let figures = Figures {
        rate: rate(late),
        rate_before,
        resident: resident_memory(),
        resident_before,
        ..Figures::default()
    };
    bus.shutdown().await.expect("stopped");
    figures
}
