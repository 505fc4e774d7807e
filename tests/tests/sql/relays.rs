//! Two relays in two processes, of which one has lost its lease without knowing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bus_core::Bus;
use bus_core::observe::{Observer, PreSend};
use bus_rabbitmq::RabbitMq;
use bus_tests::contracts::LAST;
use bus_tests::mortal::Life;
use bus_tests::{Broker, eventually};

use crate::databases::{TestDatabase, on_each_database};
use crate::service::Service;

on_each_database! {
    a_relay_that_was_frozen_past_its_lease_sends_nothing_more,
    two_relays_with_one_lease_send_nothing_out_of_order,
}

const COUNT: u32 = 300;

/// The first relay stops at this message: in the middle, with others behind it in its window.
const POINT: &str = "stop:committed@60";

/// A relay in the process of the test.
struct Second {
    bus: Bus,
    sent: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Counting(Arc<AtomicUsize>);

impl Observer for Counting {
    fn pre_send(&self, _: &PreSend<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Second {
    async fn start<DB: TestDatabase>(service: &Service<DB>) -> Self {
        let sent = Arc::<AtomicUsize>::default();
        let sql = DB::again(&service.db).await;
        let bus = Bus::builder(RabbitMq::new(Broker::shared().await.url()))
            .observe(Counting(Arc::clone(&sent)))
            .background(sql.relay())
            .start()
            .await;
        let bus = bus.expect("the broker is up");
        Self { bus, sent }
    }

    fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }
}

/// A relay that was stopped amid a backlog, and what it had begun to send by then.
async fn frozen<DB: TestDatabase>(service: &mut Service<DB>) -> (Life, Vec<u32>) {
    service.commit(0..COUNT).await;
    let first = service.life(POINT);
    first.freezes().await;
    eventually("its output is read", async || {
        first.numbers("sends").len() == 60
    })
    .await;
    let begun = first.numbers("sends");
    (first, begun)
}

/// Lets the first relay have its lease again. It sends a last message, behind all that it would
/// have sent before.
async fn is_followed_by<DB: TestDatabase>(service: Service<DB>, first: &Life, second: Second) {
    second.bus.shutdown().await.expect("stopped");
    let mut service = service;
    service.commit([LAST]).await;
    eventually("the first relay sends again", async || {
        first.numbers("sends").contains(&LAST)
    })
    .await;
    service.is_right().await;
    service.bus.shutdown().await.expect("stopped");
}

/// It goes on with the message that it was about to hand over, which the other one sent too, with
/// the same id.
async fn a_relay_that_was_frozen_past_its_lease_sends_nothing_more<DB: TestDatabase>() {
    let mut service = Service::<DB>::new().await;
    let (first, begun) = frozen(&mut service).await;
    let epoch = service.db.epoch().await;
    let second = Second::start(&service).await;
    service.audit.takes(0..COUNT).await;
    assert_eq!(service.db.epoch().await, epoch + 1, "its lease has run out");
    let others = second.sent();
    assert!(others > COUNT as usize - 60, "{others} sent by the other");
    service.until_all_has_left().await;
    first.thaw();
    is_followed_by(service, &first, second).await;
    let after = first.numbers("sends").split_off(begun.len());
    assert_eq!(after, [LAST]);
}

/// The first one relies on its lease when the other one has taken it: as if their clocks went apart
/// by seconds.
async fn two_relays_with_one_lease_send_nothing_out_of_order<DB: TestDatabase>() {
    let mut service = Service::<DB>::new().await;
    let (first, _) = frozen(&mut service).await;
    let epoch = service.db.epoch().await;
    service.db.end_lease().await;
    let second = Second::start(&service).await;
    eventually("the other one sends", async || second.sent() > 0).await;
    first.thaw();
    service.audit.takes(0..COUNT).await;
    assert_eq!(service.db.epoch().await, epoch + 1, "it was stolen");
    is_followed_by(service, &first, second).await;
}
