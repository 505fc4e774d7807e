//! Services that are killed around a transaction: one effect, and its message if and only if it happened.

use bus_tests::{Broker, Proxy, eventually};

use crate::databases::{TestDatabase, on_each_database};
use crate::service::Service;

on_each_database! {
    a_service_that_is_killed_before_its_inbox_row_has_one_effect,
    a_service_that_is_killed_in_its_transaction_has_one_effect,
    a_service_that_is_killed_before_its_relay_sends_has_one_effect,
    a_service_that_is_killed_before_the_confirm_has_one_effect,
    a_service_that_is_killed_before_its_relay_deletes_has_one_effect,
    a_service_that_is_killed_before_the_acknowledgement_has_one_effect,
}

/// Kills the service at the point, starts it again, and sends it a last message.
/// Returns how often the message of the killed one arrived; its effect happened once.
async fn arrivals<DB: TestDatabase>(point: &str) -> usize {
    let mut service = Service::<DB>::new().await;
    let mut killed = service.life(point);
    service.send([7]).await;
    killed.death().await;
    let _again = service.life("never");
    service.ends_well().await.audit.times(7)
}

async fn a_service_that_is_killed_before_its_inbox_row_has_one_effect<DB: TestDatabase>() {
    assert_eq!(arrivals::<DB>("received").await, 1);
}

async fn a_service_that_is_killed_in_its_transaction_has_one_effect<DB: TestDatabase>() {
    assert_eq!(arrivals::<DB>("working").await, 1);
}

async fn a_service_that_is_killed_before_its_relay_sends_has_one_effect<DB: TestDatabase>() {
    assert_eq!(arrivals::<DB>("committed").await, 1);
}

/// The broker has the message, and the service has not heard of it: it leaves again, with the same
/// id.
async fn a_service_that_is_killed_before_the_confirm_has_one_effect<DB: TestDatabase>() {
    let broker = Broker::shared().await;
    let wire = Proxy::start(broker.host()).await;
    let mut service = Service::<DB>::new().await;
    let database = service.db.address.clone();
    let mut killed = service.life_behind("stop:committed@2", &wire.url(), &database);
    // The first one opens the channel, which takes an answer.
    service.send([1]).await;
    service.audit.takes([1]).await;
    service.until_all_has_left().await;
    service.send([7]).await;
    killed.freezes().await;
    wire.drop_answers(true);
    killed.thaw();
    eventually("it arrives", async || service.audit.times(7) == 1).await;
    assert_eq!(service.db.rows("outbox").await, 1, "not confirmed");
    killed.kill().await;
    let _again = service.life("never");
    assert_eq!(service.ends_well().await.audit.times(7), 2);
}

/// What was confirmed and is still in the table leaves again, with the same id.
async fn a_service_that_is_killed_before_its_relay_deletes_has_one_effect<DB: TestDatabase>() {
    assert_eq!(arrivals::<DB>("sent").await, 2);
}

async fn a_service_that_is_killed_before_the_acknowledgement_has_one_effect<DB: TestDatabase>() {
    // It may have left before the service died, and its row may have been deleted or not.
    assert!((1..=2).contains(&arrivals::<DB>("done").await));
}
