//! A service in a process of its own, and the test around it: who sends to it, and who listens.

use std::time::Duration;

use bus_core::Bus;
use bus_rabbitmq::RabbitMq;
use bus_tests::contracts::{LAST, Ordered, Place};
use bus_tests::mortal::{Audit, Ledger, Life, ordering_key};
use bus_tests::{Broker, eventually};
use uuid::Uuid;

use crate::databases::{Fixture, TestDatabase};

/// Longest time that a send waits for a broker that comes back.
const DEADLINE: Duration = Duration::from_secs(60);

/// The surroundings of a service.
pub(crate) struct Service<DB: TestDatabase> {
    pub(crate) db: Fixture<DB>,
    pub(crate) bus: Bus,
    pub(crate) audit: Audit,
    pub(crate) ledger: Ledger,
    broker: String,
    queue: String,
}

impl<DB: TestDatabase> Service<DB> {
    pub(crate) async fn new() -> Self {
        Self::on(DB::open().await, Broker::shared().await.url()).await
    }

    pub(crate) async fn on(db: Fixture<DB>, broker: &str) -> Self {
        let queue = format!("mortal-{}", Uuid::new_v4().simple());
        let audit = Audit::new().await;
        let bus = Bus::builder(RabbitMq::new(broker))
            .deadline(DEADLINE)
            .endpoint(audit.endpoint(&format!("{queue}-audit")))
            .start();
        db.sql.migrate().await.expect("tables");
        Self {
            db,
            bus: bus.await.expect("the broker is up"),
            audit,
            ledger: Ledger::default(),
            broker: broker.to_owned(),
            queue,
        }
    }

    /// Starts a process of it that ends or stops itself at a point.
    pub(crate) fn life(&self, point: &str) -> Life {
        self.life_behind(point, &self.broker, &self.db.address)
    }

    /// The same, with addresses of its own.
    pub(crate) fn life_behind(&self, point: &str, broker: &str, database: &str) -> Life {
        let program = env!("CARGO_BIN_EXE_mortal-transaction");
        let arguments = [&self.queue, point, database];
        Life::start(program, &arguments, &[("AMQP_URL", broker)])
    }

    /// The address of its events.
    pub(crate) fn audit_address(&self) -> String {
        format!("queue:{}-audit", self.queue)
    }

    /// Sends it commands.
    pub(crate) async fn send(&mut self, numbers: impl IntoIterator<Item = u32>) {
        let queue = format!("queue:{}", self.queue);
        for number in numbers {
            self.ledger.attempt(number);
            let sending = self.bus.send_to(queue.as_str(), &Place { number });
            sending.await.expect("confirmed");
            self.ledger.confirm(number);
        }
    }

    /// Commits effects and their events, as a handler of another process does, in one transaction.
    pub(crate) async fn commit(&mut self, numbers: impl IntoIterator<Item = u32>) {
        let audit = self.audit_address();
        let unit = self.db.sql.begin(&self.bus.sender()).await;
        let mut unit = unit.expect("a transaction");
        for number in numbers {
            self.ledger.attempt(number);
            let text = number.to_string();
            let effect = DB::effect(unit.conn(), &text).await;
            effect.expect("an effect");
            let event = unit.send_to(audit.as_str(), &Ordered { number });
            let event = event.ordering_key(ordering_key(number));
            event.await.expect("held");
            self.ledger.confirm(number);
        }
        unit.commit().await.expect("committed");
    }

    /// Waits until nothing waits to be sent.
    pub(crate) async fn until_all_has_left(&self) {
        eventually("all has left", async || self.db.rows("outbox").await == 0).await;
    }

    /// Sends a last command, waits for all events, and compares all that has happened with all that
    /// was sent.
    pub(crate) async fn ends_well(mut self) -> Self {
        self.send([LAST]).await;
        self.audit.takes([LAST]).await;
        self.is_right().await;
        self.bus.shutdown().await.expect("stopped");
        self
    }

    /// Waits for all events, and compares all that has happened with all that was sent.
    pub(crate) async fn is_right(&self) {
        self.until_all_has_left().await;
        let effects = self.db.committed().await;
        self.audit.takes(effects.iter().copied()).await;
        let (arrivals, taken) = (self.audit.arrivals(), self.audit.taken());
        let violations = self.ledger.violations(&effects, &arrivals, &taken);
        assert_eq!(violations, [""; 0]);
    }
}
