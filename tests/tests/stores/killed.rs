//! Which crash of a service repeats an effect with which store: the table of docs/idempotency-store.md.

use bus_core::Bus;
use bus_rabbitmq::RabbitMq;
use bus_tests::contracts::{LAST, Place};
use bus_tests::mortal::Life;
use bus_tests::{Broker, RedisServer};
use uuid::Uuid;

/// One life of the service; what it writes is its effects.
async fn life(queue: &str, store: &str, point: &str) -> Life {
    let servers = [
        ("AMQP_URL", Broker::shared().await.url()),
        ("REDIS_URL", RedisServer::shared().await.url()),
    ];
    let program = env!("CARGO_BIN_EXE_mortal-consumer");
    Life::start(program, &[queue, store, queue, point], &servers)
}

/// How often the effect of one message happens if its service is killed at `point`, and then started again.
async fn effects(store: &str, point: &str) -> usize {
    let queue = format!("mortal-{}", Uuid::new_v4().simple());
    let mut killed = life(&queue, store, point).await;
    let bus = Bus::builder(RabbitMq::new(Broker::shared().await.url()));
    let bus = bus.start().await.expect("the broker is up");
    let send = async |number| {
        let sending = bus.send_to(format!("queue:{queue}"), &Place { number });
        sending.await.expect("confirmed");
    };
    send(7).await;
    let mut effects = killed.death().await;
    let again = life(&queue, store, "never").await;
    // Handled after the other one, by a concurrency of 1.
    send(LAST).await;
    let last = LAST.to_string();
    again.writes(&last).await;
    effects.extend(again.written());
    effects.retain(|effect| *effect != last);
    assert!(effects.iter().all(|effect| effect == "7"), "{effects:?}");
    bus.shutdown().await.expect("stopped");
    effects.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_killed_between_claim_and_effect_has_one_effect() {
    assert_eq!(effects("redis", "claimed").await, 1);
    assert_eq!(effects("memory", "claimed").await, 1);
}

/// No store without a transaction around both can prevent that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_killed_between_effect_and_mark_repeats_the_effect() {
    assert_eq!(effects("redis", "effect").await, 2);
    assert_eq!(effects("memory", "effect").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_killed_between_mark_and_acknowledgement_has_one_effect_by_a_store_that_survives()
 {
    assert_eq!(effects("redis", "marked").await, 1);
    assert_eq!(effects("memory", "marked").await, 2);
}
