//! A service on one database, killed again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use bus_core::Bus;
use bus_rabbitmq::RabbitMq;
use bus_tests::contracts::Place;
use bus_tests::mortal::{Audit, Ledger, Life};
use bus_tests::{Broker, until};
use uuid::Uuid;

use crate::store::Store;

/// Points at which the service kills itself, or is killed from outside.
const POINTS: [&str; 6] = ["received", "working", "committed", "sent", "done", ANY];
const ANY: &str = "any moment";

/// Messages of each life, of which it dies at one of the first.
const MESSAGES: u32 = 10;
const LATEST: usize = 6;

/// Longest time after its start at which a service is killed from outside.
const MOMENTS: Duration = Duration::from_millis(800);

/// Kills between two lines about them.
const LINE: usize = 5;

/// Longest time that a send waits for a broker that comes back.
const DEADLINE: Duration = Duration::from_secs(120);

/// A service, and all that was sent to it.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) store: Store,
    broker: String,
    queue: String,
    bus: Bus,
    audit: Audit,
    ledger: Ledger,
    next: u32,
    kills: BTreeMap<&'static str, usize>,
    violations: Vec<String>,
}

/// The figures of a lane.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) name: &'static str,
    pub(crate) kills: BTreeMap<&'static str, usize>,
    pub(crate) attempted: usize,
    pub(crate) confirmed: usize,
    pub(crate) effects: usize,
    pub(crate) arrivals: usize,
    pub(crate) taken: usize,
    pub(crate) violations: Vec<String>,
}

/// A part of a whole, by chance.
fn part() -> f64 {
    f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

/// A number below a limit, by chance.
fn below(limit: usize) -> usize {
    usize::from(Uuid::new_v4().as_fields().1) % limit
}

impl Lane {
    pub(crate) async fn start(store: Store, broker: &Broker) -> Self {
        let queue = format!("kills-{}", store.name());
        let audit = Audit::new().await;
        let bus = Bus::builder(RabbitMq::new(broker.url()))
            .deadline(DEADLINE)
            .endpoint(audit.endpoint(&format!("{queue}-audit")))
            .start();
        let lane = Self {
            store,
            broker: broker.url().to_owned(),
            queue,
            bus: bus.await.expect("the broker is up"),
            audit,
            ledger: Ledger::default(),
            next: 0,
            kills: BTreeMap::new(),
            violations: Vec::new(),
        };
        // The first life makes the queue and the tables.
        lane.life("never").writes("well").await;
        lane
    }

    pub(crate) fn life(&self, point: &str) -> Life {
        let program = std::env::current_exe().expect("a program");
        let program = program.with_file_name("mortal-transaction");
        let arguments = [&self.queue, point, self.store.address()];
        Life::start(program, &arguments, &[("AMQP_URL", &self.broker)])
    }

    /// Kills the service so many times.
    pub(crate) async fn kill(&mut self, count: usize) {
        for kill in 1..=count {
            self.kill_once().await;
            if kill % LINE == 0 || kill == count {
                let effects = self.store.effects().await.len();
                let (name, wrong) = (self.store.name(), self.violations.len());
                eprintln!("{name}: {kill} of {count} kills, {effects} effects, {wrong} violations");
            }
        }
    }

    async fn kill_once(&mut self) {
        self.store.end_lease().await;
        let point = POINTS[below(POINTS.len())];
        let mut life = match point {
            ANY => self.life("never"),
            point => self.life(&format!("{point}@{}", 1 + below(LATEST))),
        };
        self.send(MESSAGES).await;
        if point == ANY {
            tokio::time::sleep(MOMENTS.mul_f64(part())).await;
            life.kill().await;
        } else {
            life.death().await;
        }
        *self.kills.entry(point).or_default() += 1;
        // What can be said while messages are under way.
        let effects = self.store.effects().await;
        let mut once = effects.clone();
        once.sort_unstable();
        once.dedup();
        if once.len() != effects.len() {
            let violation = format!("{point}: {} effects of {}", effects.len(), once.len());
            eprintln!("{}: {violation}", self.store.name());
            self.violations.push(violation);
        }
    }

    /// Sends it so many messages more.
    pub(crate) async fn send(&mut self, count: u32) {
        let queue = format!("queue:{}", self.queue);
        for number in self.next..self.next + count {
            self.ledger.attempt(number);
            let sent = self.bus.send_to(queue.as_str(), &Place { number }).await;
            match sent {
                Ok(()) => self.ledger.confirm(number),
                Err(error) => self
                    .violations
                    .push(format!("{number} was not sent: {error}")),
            }
        }
        self.next += count;
    }

    /// Waits until all that was sent has been handled.
    pub(crate) async fn is_even(&mut self) {
        let next = self.next;
        let all = usize::try_from(next).expect("a small number");
        let found = tokio::time::timeout(DEADLINE, async {
            while self.store.effects().await.len() < all {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        if found.await.is_err() {
            self.violations
                .push(format!("not all of {next} within {DEADLINE:?}"));
        }
    }

    /// Lets all that is left be handled, and compares it with all that was sent.
    pub(crate) async fn end(mut self) -> Figures {
        self.store.end_lease().await;
        let life = self.life("never");
        self.is_even().await;
        until("nothing waits to be sent", async || {
            (self.store.waiting().await == 0).then_some(())
        })
        .await;
        let all: Vec<_> = (0..self.next).collect();
        self.audit.takes(all).await;
        drop(life);
        let (effects, arrivals) = (self.store.effects().await, self.audit.arrivals());
        let taken = self.audit.taken();
        let found = self.ledger.violations(&effects, &arrivals, &taken);
        self.violations.extend(found);
        let (attempted, confirmed) = self.ledger.counts();
        if let Err(error) = self.bus.shutdown().await {
            self.violations.push(error.to_string());
        }
        Figures {
            name: self.store.name(),
            kills: self.kills,
            attempted,
            confirmed,
            effects: effects.len(),
            arrivals: arrivals.len(),
            taken: taken.len(),
            violations: self.violations,
        }
    }
}
