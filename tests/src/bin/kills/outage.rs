//! A broker and a database that are away for a while, with a service that works meanwhile.

use std::time::Duration;

use bus_tests::{Broker, PostgresServer};
use tokio::time::sleep;

use crate::lane::Lane;

/// Messages that are sent before and after.
const MESSAGES: u32 = 100;

/// The broker is killed among deliveries, and comes back after a while.
pub(crate) async fn of_the_broker(broker: &Broker, mut lanes: [&mut Lane; 2], away: Duration) {
    eprintln!("the broker is away for {} s", away.as_secs());
    let mut lives = Vec::new();
    for lane in &lanes {
        lane.store.end_lease().await;
        lives.push(lane.life("never"));
    }
    for lane in &mut lanes {
        lane.send(MESSAGES).await;
    }
    broker.kill().await;
    sleep(away).await;
    for life in &lives {
        life.writes("unwell").await;
    }
    broker.start_again().await;
    for lane in &mut lanes {
        lane.send(MESSAGES).await;
        lane.is_even().await;
    }
}

/// The database is killed among commits, and comes back after a while.
pub(crate) async fn of_the_database(server: &PostgresServer, lane: &mut Lane, away: Duration) {
    eprintln!("the database is away for {} s", away.as_secs());
    lane.store.end_lease().await;
    let life = lane.life("never");
    lane.send(MESSAGES).await;
    server.kill().await;
    lane.send(MESSAGES).await;
    sleep(away).await;
    life.writes("unwell").await;
    server.start_again().await;
    lane.is_even().await;
}
