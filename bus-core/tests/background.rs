//! When background services run again, and how long they have to stop, on paused time.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus_core::background::{BackgroundService, StopSignal};
use bus_core::error::BoxError;
use bus_core::observe::{BackgroundHealth, BackgroundState};
use bus_core::send::Sender;
use bus_core::transport::Health;
use bus_core::{Bus, async_trait};
use bus_inmemory::InMemory;
use tokio::time::{Instant, sleep};

/// One run of a service: it fails after so long.
type Run = Duration;

/// Fails as its runs say; after them, it waits for the stop and takes its time to end.
#[derive(Debug)]
struct Fragile {
    name: &'static str,
    runs: Mutex<VecDeque<Run>>,
    began: Mutex<Vec<Instant>>,
    end_takes: Duration,
    health: Mutex<Health>,
}

impl Fragile {
    fn new(name: &'static str, runs: &[Run], end_takes: Duration) -> Arc<Self> {
        Arc::new(Self {
            name,
            runs: Mutex::new(runs.iter().copied().collect()),
            began: Mutex::default(),
            end_takes,
            health: Mutex::new(Health::Up),
        })
    }

    /// The waits between the end of each run and the next one.
    fn waits(&self, runs: &[Run]) -> Vec<Duration> {
        let began = self.began.lock().unwrap();
        let gaps = began.windows(2).zip(runs);
        gaps.map(|(pair, run)| (pair[1] - pair[0]).saturating_sub(*run))
            .collect()
    }

    async fn began(&self, times: usize) {
        while self.began.lock().unwrap().len() < times {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

#[async_trait]
impl BackgroundService for Fragile {
    fn name(&self) -> &str {
        self.name
    }

    async fn run(&self, _: Sender, stop: StopSignal) -> Result<(), BoxError> {
        self.began.lock().unwrap().push(Instant::now());
        let run = self.runs.lock().unwrap().pop_front();
        if let Some(run) = run {
            sleep(run).await;
            return Err("the table is locked".into());
        }
        stop.requested().await;
        sleep(self.end_takes).await;
        Ok(())
    }

    fn health(&self) -> Health {
        self.health.lock().unwrap().clone()
    }
}

fn health(bus: &Bus, name: &str) -> BackgroundHealth {
    let health = bus.health();
    health
        .background_service(name)
        .expect("it is there")
        .clone()
}

async fn start(services: &[&Arc<Fragile>], stop_timeout: Duration) -> Bus {
    let bus = Bus::builder(InMemory::new()).stop_timeout(stop_timeout);
    let bus = services
        .iter()
        .fold(bus, |bus, service| bus.background(Arc::clone(service)));
    bus.start().await.expect("a start")
}

const STOP_TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn waits_grow_and_a_long_run_starts_them_anew() {
    let long = Duration::from_secs(31);
    let mut runs = vec![Duration::ZERO; 9];
    runs.push(long);
    let service = Fragile::new("relay", &runs, Duration::ZERO);
    let bus = start(&[&service], STOP_TIMEOUT).await;
    service.began(runs.len() + 1).await;
    let waits = service.waits(&runs);
    assert_eq!(waits.len(), runs.len());
    let about = |wait: Duration, expected: f64| {
        let seconds = wait.as_secs_f64();
        let range = expected * 0.49..=expected * 1.51;
        assert!(range.contains(&seconds), "{seconds} of {waits:?}");
    };
    for (wait, expected) in waits.iter().zip([0.5, 1.0, 2.0, 4.0, 8.0]) {
        about(*wait, expected);
    }
    let longest = waits[..9].iter().max().expect("waits");
    assert!(*longest <= Duration::from_millis(30_001), "{waits:?}");
    assert!(waits[8] >= Duration::from_secs(14), "{waits:?}");
    about(waits[9], 0.5);
    bus.shutdown().await.expect("a stop");
}

#[tokio::test(start_paused = true)]
async fn the_health_says_why_until_it_has_recovered() {
    let service = Fragile::new("relay", &[Duration::from_secs(1)], Duration::ZERO);
    let bus = start(&[&service], STOP_TIMEOUT).await;
    service.began(1).await;
    let running = health(&bus, "relay");
    assert_eq!(
        (running.state, &running.reason),
        (BackgroundState::Running, &None)
    );
    sleep(Duration::from_millis(1100)).await;
    let down = health(&bus, "relay");
    assert_eq!(down.state, BackgroundState::Down);
    let reason = down.reason.as_deref().unwrap_or_default();
    assert!(reason.contains("the table is locked"), "{reason}");
    assert!(!bus.health().is_healthy() && bus.health().is_ready());
    service.began(2).await;
    let recovering = health(&bus, "relay");
    assert_eq!(recovering.state, BackgroundState::Degraded);
    let reason = recovering.reason.unwrap_or_default();
    assert!(reason.contains("the table is locked"), "{reason}");
    sleep(Duration::from_secs(30)).await;
    let recovered = health(&bus, "relay");
    assert_eq!(recovered.state, BackgroundState::Running);
    assert!(bus.health().is_healthy());
    bus.shutdown().await.expect("a stop");
    assert_eq!(health(&bus, "relay").state, BackgroundState::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_service_may_report_its_own_trouble() {
    let service = Fragile::new("relay", &[], Duration::ZERO);
    let bus = start(&[&service], STOP_TIMEOUT).await;
    for (own, state) in [
        (Health::Degraded("slow".into()), BackgroundState::Degraded),
        (Health::Down("away".into()), BackgroundState::Down),
        (Health::Up, BackgroundState::Running),
    ] {
        *service.health.lock().unwrap() = own.clone();
        let health = health(&bus, "relay");
        assert_eq!(health.state, state);
        let (Health::Degraded(expected) | Health::Down(expected)) = own else {
            assert_eq!(health.reason, None);
            continue;
        };
        assert_eq!(health.reason, Some(expected));
    }
    bus.shutdown().await.expect("a stop");
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_the_next_run() {
    let service = Fragile::new("relay", &[Duration::ZERO; 20], Duration::ZERO);
    let bus = start(&[&service], STOP_TIMEOUT).await;
    service.began(8).await;
    sleep(Duration::from_millis(1)).await;
    let begun = Instant::now();
    bus.shutdown().await.expect("it waited for its next run");
    assert!(begun.elapsed() < Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn services_share_the_time_to_stop() {
    let six = Duration::from_secs(6);
    let (first, last) = (
        Fragile::new("first", &[], six),
        Fragile::new("last", &[], six),
    );
    let bus = start(&[&first, &last], STOP_TIMEOUT).await;
    first.began(1).await;
    last.began(1).await;
    let begun = Instant::now();
    let late = bus.shutdown().await.expect_err("twelve seconds of ten");
    assert_eq!(begun.elapsed(), STOP_TIMEOUT);
    assert_eq!(late.aborted_services().collect::<Vec<_>>(), ["first"]);
    assert!(!late.has_cut_off_consumers());
    let reason = health(&bus, "first").reason.unwrap_or_default();
    assert!(reason.contains("aborted"), "{reason}");
    let reason = health(&bus, "last").reason.unwrap_or_default();
    assert!(!reason.contains("aborted"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn services_have_a_second_to_stop_where_consumers_leave_none() {
    let service = Fragile::new("relay", &[], Duration::from_millis(900));
    let bus = start(&[&service], Duration::ZERO).await;
    service.began(1).await;
    bus.shutdown().await.expect("it took less than a second");
}
