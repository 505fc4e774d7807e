//! The cases, their baselines and their bars.

use std::fmt;

use crate::bus::{self, QUEUE, Subject};
use crate::figures::{Figures, median_and_spread};
use crate::memory;
use crate::raw::{self, Acks};
use crate::stage::{Stage, Store};

/// How much of it is run.
pub(crate) struct Plan {
    /// Only cases whose names contain this text.
    pub(crate) filter: String,
    pub(crate) rounds: usize,
    pub(crate) count: usize,
}

impl Plan {
    pub(crate) fn from_environment() -> Self {
        let number = |name: &str, default| {
            let text = std::env::var(name).ok();
            text.and_then(|text| text.parse().ok()).unwrap_or(default)
        };
        Self {
            filter: std::env::var("CASE").unwrap_or_default(),
            rounds: number("ROUNDS", 5).max(1),
            count: number("MESSAGES", 200_000).max(1000),
        }
    }
}

/// What a case measures.
#[derive(Clone, Copy, Debug)]
enum Load {
    Publish(Store),
    Consume(Store, Acks),
    EndToEnd(Store),
    Request(usize),
    Memory,
}

/// One comparison.
pub(crate) struct Case {
    pub(crate) name: String,
    load: Load,
    /// The least share of the baseline's rate.
    rate: f64,
    /// The most processor time, in multiples of the baseline's, where it is compared.
    cpu: Option<f64>,
    /// The most latency, in multiples of the baseline's, where it is compared.
    latency: Option<f64>,
}

/// What is compared in one line.
#[derive(Debug)]
pub(crate) struct Outcome {
    name: String,
    unit: &'static str,
    ours: (f64, f64),
    baseline: (f64, f64),
    /// A ratio of at least this, or at most.
    bar: Bar,
}

#[derive(Clone, Copy, Debug)]
enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

/// Every case.
pub(crate) fn all() -> Vec<Case> {
    let case = |name: String, load, rate| Case {
        name,
        load,
        rate,
        cpu: None,
        latency: None,
    };
    let mut cases = Vec::new();
    for store in [Store::Quorum, Store::Classic] {
        let name = |what: &str| format!("{what}-{}", store.name());
        let batch = if store == Store::Quorum { 0.7 } else { 0.75 };
        cases.push(Case {
            cpu: Some(1.6),
            ..case(name("publish"), Load::Publish(store), 0.9)
        });
        cases.push(Case {
            cpu: Some(2.0),
            ..case(name("consume"), Load::Consume(store, Acks::Each), 1.0)
        });
        let fifty = Load::Consume(store, Acks::Every(50));
        cases.push(case(name("consume-acks50"), fifty, batch));
        cases.push(case(name("end-to-end"), Load::EndToEnd(store), 0.85));
    }
    cases.push(case("request-100".to_owned(), Load::Request(100), 0.75));
    cases.push(Case {
        latency: Some(1.25),
        ..case("request-1".to_owned(), Load::Request(1), 0.0)
    });
    cases.push(case("memory".to_owned(), Load::Memory, 0.5));
    cases
}

impl Case {
    /// Runs ours and the baseline in turn.
    pub(crate) async fn run(&self, plan: &Plan) -> Vec<Outcome> {
        let (mut ours, mut baseline) = (Vec::new(), Vec::new());
        for _ in 0..plan.rounds {
            let (bus, raw) = self.round(plan.count).await;
            ours.push(bus);
            baseline.push(raw);
        }
        self.outcomes(&ours, &baseline)
    }

    async fn round(&self, count: usize) -> (Figures, Figures) {
        if let Load::Memory = self.load {
            return (memory::bus(count).await, memory::channel(count).await);
        }
        let stage = Stage::open().await;
        let figures = match self.load {
            Load::Request(in_flight) => {
                // A request is several messages.
                let count = count / if in_flight == 1 { 50 } else { 5 };
                let ours = bus::request(stage.url(), count, in_flight).await;
                (ours, raw::request(stage.url(), count, in_flight).await)
            }
            _ => self.broker_round(stage.url(), count).await,
        };
        stage.close().await;
        figures
    }

    async fn broker_round(&self, url: &str, count: usize) -> (Figures, Figures) {
        let (Load::Publish(store) | Load::Consume(store, _) | Load::EndToEnd(store)) = self.load
        else {
            unreachable!("the other loads have no queue");
        };
        let subject = Subject::start(url, store).await;
        subject.publish(1).await;
        let sample = raw::sample(url, QUEUE).await;
        let figures = match self.load {
            Load::Publish(_) => {
                let ours = subject.publish(count).await;
                purge(url).await;
                let raw = raw::publish(url, QUEUE, &sample, count).await;
                (ours, raw)
            }
            Load::Consume(_, acks) => {
                raw::publish(url, QUEUE, &sample, count).await;
                let ours = subject.consume(count).await;
                raw::publish(url, QUEUE, &sample, count).await;
                (ours, raw::consume(url, QUEUE, count, acks).await)
            }
            _ => {
                let ours = subject.end_to_end(count).await;
                (
                    ours,
                    raw::end_to_end(url, QUEUE, QUEUE, &sample, count).await,
                )
            }
        };
        purge(url).await;
        subject.stop().await;
        figures
    }

    fn outcomes(&self, ours: &[Figures], baseline: &[Figures]) -> Vec<Outcome> {
        let outcome = |what: &str, unit, of: fn(&Figures) -> f64, bar| Outcome {
            name: format!("{}{what}", self.name),
            unit,
            ours: median_and_spread(ours.iter().map(of).collect()),
            baseline: median_and_spread(baseline.iter().map(of).collect()),
            bar,
        };
        let mut outcomes = Vec::new();
        if self.rate > 0.0 {
            let bar = Bar::AtLeast(self.rate);
            outcomes.push(outcome("", "/s", |figures| figures.rate, bar));
        }
        if let Some(most) = self.cpu {
            let bar = Bar::AtMost(most);
            outcomes.push(outcome("-cpu", "us", |figures| figures.cpu, bar));
        }
        if let Some(most) = self.latency {
            let bar = Bar::AtMost(most);
            outcomes.push(outcome("-latency", "us", |figures| figures.latency, bar));
        }
        outcomes
    }
}

async fn purge(url: &str) {
    let (connection, channel) = raw::connect(url).await;
    let options = lapin::options::QueuePurgeOptions::default();
    channel
        .queue_purge(QUEUE.into(), options)
        .await
        .expect("purged");
    let _ = connection.close(200, "done".into()).await;
}

impl Outcome {
    fn ratio(&self) -> f64 {
        self.ours.0 / self.baseline.0
    }

    pub(crate) fn meets_its_bar(&self) -> bool {
        match self.bar {
            Bar::AtLeast(least) => self.ratio() >= least,
            Bar::AtMost(most) => self.ratio() <= most,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bus, bus_spread) = self.ours;
        let (baseline, baseline_spread) = self.baseline;
        let digits = usize::from(self.unit == "us");
        write!(
            f,
            "case={} bus={bus:.digits$}{unit} (±{bus_spread:.0}%) baseline={baseline:.digits$}{unit} (±{baseline_spread:.0}%) ratio={:.2} bar{}",
            self.name,
            self.ratio(),
            match self.bar {
                Bar::AtLeast(least) => format!(">={least}"),
                Bar::AtMost(most) => format!("<={most}"),
            },
            unit = self.unit,
        )
    }
}
