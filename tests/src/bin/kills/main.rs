//! `make soak`: services that are killed at random points, many times in a row, on both databases, and what of it does
//! not add up. `kills [COUNT]`; the variable `KILLS` says it too. It fails if anything is wrong.
#![allow(clippy::print_stdout)] // a command-line program

mod lane;
mod outage;
mod report;
mod store;

use std::process::ExitCode;
use std::time::Duration;

use bus_tests::{Broker, PostgresServer};

use crate::lane::Lane;
use crate::report::Report;
use crate::store::Store;

/// Kills on both databases together, unless it is said otherwise.
const USUAL: usize = 100;

/// How long a broker and a database are away at the end.
const AWAY: Duration = Duration::from_secs(30);

/// How many kills; none if that cannot be read.
fn count() -> Option<usize> {
    let variable = std::env::var("KILLS")
        .ok()
        .filter(|kills| !kills.is_empty());
    match variable.or_else(|| std::env::args().nth(1)) {
        Some(kills) => kills.parse().ok(),
        None => Some(USUAL),
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 4)]
async fn main() -> ExitCode {
    let Some(kills) = count() else {
        eprintln!("kills: KILLS, or the only argument, must be a number");
        return ExitCode::from(2);
    };
    eprintln!("a broker and a database start");
    let (broker, server) = tokio::join!(Broker::private(), PostgresServer::private());
    let [mut one, mut other] = [
        Lane::start(Store::postgres(&server).await, &broker).await,
        Lane::start(Store::sqlite().await, &broker).await,
    ];
    let halves = (kills.div_ceil(2), kills / 2);
    tokio::join!(one.kill(halves.0), other.kill(halves.1));
    outage::of_the_broker(&broker, [&mut one, &mut other], AWAY).await;
    outage::of_the_database(&server, &mut one, AWAY).await;
    let mut report = Report::default();
    for lane in [one, other] {
        report.add(lane.end().await);
    }
    if report.print() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
