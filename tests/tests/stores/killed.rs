//! Which crash of a service repeats an effect with which store: the table of docs/idempotency-store.md.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use bus_core::Bus;
use bus_rabbitmq::RabbitMq;
use bus_tests::contracts::{LAST, Place};
use bus_tests::{Broker, RedisServer, within};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use uuid::Uuid;

const SIGKILL: i32 = 9;

/// One life of the service; what it writes is its effects.
async fn life(queue: &str, store: &str, point: &str) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut service = Command::new(env!("CARGO_BIN_EXE_mortal-consumer"))
        .args([queue, store, queue, point])
        .env("AMQP_URL", Broker::shared().await.url())
        .env("REDIS_URL", RedisServer::shared().await.url())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the service starts");
    let effects = BufReader::new(service.stdout.take().expect("piped")).lines();
    (service, effects)
}

/// How often the effect of one message happens if its service is killed at `point`, and then started again.
async fn effects(store: &str, point: &str) -> usize {
    let queue = format!("mortal-{}", Uuid::new_v4().simple());
    let (mut service, mut lines) = life(&queue, store, point).await;
    let bus = Bus::builder(RabbitMq::new(Broker::shared().await.url()));
    let bus = bus.start().await.expect("the broker is up");
    let send = async |number| {
        let sending = bus.send_to(format!("queue:{queue}"), &Place { number });
        sending.await.expect("confirmed");
    };
    send(7).await;
    let mut effects = 0;
    while let Some(line) = within("an effect, or the death", lines.next_line())
        .await
        .expect("text")
    {
        assert_eq!(line, "7");
        effects += 1;
    }
    let death = service.wait().await.expect("our own child");
    assert_eq!(death.signal(), Some(SIGKILL), "{death}");
    let (_service, mut lines) = life(&queue, store, "never").await;
    // Handled after the other one, by a concurrency of 1.
    send(LAST).await;
    loop {
        let line = within("the last effect", lines.next_line())
            .await
            .expect("text");
        if line.expect("it lives") == LAST.to_string() {
            bus.shutdown().await.expect("stopped");
            return effects;
        }
        effects += 1;
    }
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
