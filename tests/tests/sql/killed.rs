//! Services that are killed around a transaction: one effect, and its message if and only if it happened.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use bus_core::Endpoint;
use bus_rabbitmq::RabbitMq;
use bus_tests::contracts::{LAST, Ordered, Place};
use bus_tests::{Broker, Recorder, numbers, within};
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::databases::{TestDatabase, on_each_database};

on_each_database! {
    a_service_that_is_killed_in_its_transaction_has_one_effect,
    a_service_that_is_killed_before_its_relay_sends_has_one_effect,
    a_service_that_is_killed_before_its_relay_deletes_has_one_effect,
    a_service_that_is_killed_before_the_acknowledgement_has_one_effect,
}

const SIGKILL: i32 = 9;

async fn life(queue: &str, point: &str, database: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_mortal-transaction"))
        .args([queue, point, database])
        .env("AMQP_URL", Broker::shared().await.url())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the service starts")
}

/// Kills the service at the point, starts it again, and sends it a last message.
/// Returns how often the message of the killed one arrived; its effect happened once.
async fn arrivals<DB: TestDatabase>(point: &str) -> usize {
    let db = DB::open().await;
    let queue = format!("mortal-{}", Uuid::new_v4().simple());
    let arrived = Recorder::<Ordered>::new();
    let audit = Endpoint::new(format!("{queue}-audit"))
        .concurrency(1)
        .without_subscriptions()
        .consumer(arrived.clone());
    let bus = bus_core::Bus::builder(RabbitMq::new(Broker::shared().await.url()));
    let bus = bus.endpoint(audit).start().await.expect("the broker is up");
    let send = async |number| {
        let sending = bus.send_to(format!("queue:{queue}"), &Place { number });
        sending.await.expect("confirmed");
    };

    let mut killed = life(&queue, point, &db.address).await;
    send(7).await;
    let death = within("the death", killed.wait())
        .await
        .expect("our own child");
    assert_eq!(death.signal(), Some(SIGKILL), "{death}");

    let _again = life(&queue, "never", &db.address).await;
    send(LAST).await;
    let arrived = arrived.until_last().await;
    assert!(numbers(&arrived).iter().all(|number| *number == 7));
    let ids: BTreeSet<_> = arrived
        .iter()
        .map(bus_core::ConsumeContext::message_id)
        .collect();
    assert_eq!(ids.len(), 1, "each time with the same id");
    let mut effects = db.effects().await;
    effects.sort_unstable();
    let mut expected = vec!["7".to_owned(), LAST.to_string()];
    expected.sort_unstable();
    assert_eq!(effects, expected);
    bus.shutdown().await.expect("stopped");
    arrived.len()
}

async fn a_service_that_is_killed_in_its_transaction_has_one_effect<DB: TestDatabase>() {
    assert_eq!(arrivals::<DB>("working").await, 1);
}

async fn a_service_that_is_killed_before_its_relay_sends_has_one_effect<DB: TestDatabase>() {
    assert_eq!(arrivals::<DB>("committed").await, 1);
}

/// What was confirmed and is still in the table leaves again, with the same id.
async fn a_service_that_is_killed_before_its_relay_deletes_has_one_effect<DB: TestDatabase>() {
    assert_eq!(arrivals::<DB>("sent").await, 2);
}

async fn a_service_that_is_killed_before_the_acknowledgement_has_one_effect<DB: TestDatabase>() {
    // It may have left before the service died, and its row may have been deleted or not.
    assert!((1..=2).contains(&arrivals::<DB>("done").await));
}
