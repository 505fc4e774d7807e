//! `make soak`: hours of load under faults, on a broker of its own, and what was lost, doubled or leaked by then.
//!
//! `soak [SECONDS]`; the variable `HOURS` says it in hours. It ends with the round that is under way, and fails if
//! anything is wrong.
#![allow(clippy::print_stdout)] // a command-line program
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)] // for shares

mod books;
mod contracts;
mod faults;
mod lane;
mod load;
mod progress;
mod report;
mod vitals;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bus_tests::Broker;
use tokio::time::{Instant, sleep};

use crate::faults::Fault;
use crate::lane::{Kind, Lane};
use crate::load::{Load, Requests};
use crate::progress::Progress;
use crate::report::Report;
use crate::vitals::Vitals;

/// How long it takes unless it is said otherwise.
const USUAL: Duration = Duration::from_secs(180);

/// Between two faults, so that there is something to be hit.
const CALM: Duration = Duration::from_secs(2);

/// After the last fault of a round all must be handled by then.
const HEALED: Duration = Duration::from_secs(90);

/// How long to run; none if that cannot be read.
fn duration() -> Option<Duration> {
    let hours = std::env::var("HOURS")
        .ok()
        .filter(|hours| !hours.is_empty());
    let seconds = match (hours, std::env::args().nth(1)) {
        (Some(hours), _) => hours.parse::<f64>().ok()? * 3600.0,
        (None, Some(seconds)) => seconds.parse().ok()?,
        (None, None) => return Some(USUAL),
    };
    Duration::try_from_secs_f64(seconds).ok()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 4)]
async fn main() -> ExitCode {
    let Some(duration) = duration() else {
        eprintln!("soak: HOURS, or the only argument in seconds, must be a number");
        return ExitCode::from(2);
    };
    let progress = Progress::of(duration);
    progress.say("a broker starts", 0);
    let broker = Broker::private().await;
    let mut lanes = Vec::new();
    for kind in [Kind::Classic, Kind::Quorum] {
        lanes.push(Lane::start(kind, broker.host()).await);
    }
    let requests = Arc::new(Requests::default());
    let mut report = Report::default();
    while report.vitals.is_empty() || !progress.is_over() {
        round(&broker, &lanes, &requests, &progress, &mut report).await;
    }
    progress.end();
    for lane in lanes {
        report.violations.extend(lane.stop().await.err());
    }
    if report.print(&requests) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Every fault once under load; then all must heal, and the books be even.
async fn round(
    broker: &Broker,
    lanes: &[Lane],
    requests: &Arc<Requests>,
    progress: &Progress,
    report: &mut Report,
) {
    let number = report.vitals.len() + 1;
    let earlier: u64 = report.sums.iter().map(|(_, sums)| sums.handled).sum();
    let say = |what: &str| {
        let now: usize = lanes.iter().map(|lane| lane.books.handled()).sum();
        progress.say(&format!("round {number}: {what}"), earlier + now as u64);
    };
    let load = Load::start(lanes, requests);
    for fault in Fault::ALL {
        sleep(CALM).await;
        say(fault.name());
        fault.strike(broker, lanes).await;
    }
    sleep(CALM).await;
    say("all heals");
    let panics = load.stop().await;
    report.violations.extend(panics);
    let before = report.violations.len();
    heal(broker, lanes, report).await;
    for lane in lanes {
        let (sums, wrong) = lane.books.close();
        report.add(lane.kind, &sums);
        let wrong = wrong
            .into_iter()
            .map(|what| format!("round {number}, {:?}: {what}", lane.kind));
        report.violations.extend(wrong);
    }
    let vitals = Vitals::at_rest(broker).await;
    report.vitals.push(vitals);
    for violation in &report.violations[before..] {
        eprintln!("{violation}");
    }
}

/// Waits until all is handled and no queue holds anything, those of errors included.
async fn heal(broker: &Broker, lanes: &[Lane], report: &mut Report) {
    let end = Instant::now() + HEALED;
    loop {
        let even = lanes
            .iter()
            .all(|lane| lane.is_up() && lane.books.are_even());
        let queued = if even {
            waiting(broker).await
        } else {
            Vec::new()
        };
        if even && queued.is_empty() {
            return;
        }
        if Instant::now() > end {
            let queued = waiting(broker).await;
            let health: Vec<_> = lanes.iter().map(Lane::health).collect();
            report.violations.push(format!(
                "not healed after {HEALED:?}: {health:?}, waiting {queued:?}"
            ));
            return;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// The queues that hold messages, with how many.
async fn waiting(broker: &Broker) -> Vec<String> {
    let listing = [
        "-q",
        "--no-table-headers",
        "list_queues",
        "name",
        "messages",
    ];
    let listed = broker.control(&listing).await;
    let holding = listed.lines().filter(|line| !line.ends_with("\t0"));
    holding.map(ToOwned::to_owned).collect()
}
