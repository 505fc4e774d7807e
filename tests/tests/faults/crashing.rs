//! A message that its processes die of.

use std::collections::BTreeSet;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::*;

const MAX_DELIVERIES: u32 = 4;
const INNOCENT: [u32; 6] = [0, 1, 2, 20, 21, 22];

/// One life of the service: what it handled until it died, or until all innocent messages were handled and the other one
/// is in the error queue. Gives whether it died.
async fn life(queue: &str, kind: &str, handled: &mut BTreeSet<u32>) -> bool {
    let mut service = Command::new(env!("CARGO_BIN_EXE_crashing-consumer"))
        .args([queue, kind, &MAX_DELIVERIES.to_string()])
        .env("AMQP_URL", Broker::shared().await.url())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the service starts");
    let mut lines = BufReader::new(service.stdout.take().expect("piped")).lines();
    let errors = format!("{queue}_error");
    loop {
        tokio::select! {
            line = lines.next_line() => match line.expect("text") {
                Some(number) => drop(handled.insert(number.parse().expect("a number"))),
                None => return true,
            },
            () = tokio::time::sleep(Duration::from_millis(50)) => {
                if handled.len() == INNOCENT.len() && waiting(&errors).await == 1 {
                    return false;
                }
            }
        }
    }
}

async fn a_culprit_is_set_aside(kind: &str) {
    let (queue, url) = (unique(kind), Broker::shared().await.url());
    let declared = match kind {
        "quorum" => Queue::quorum(&queue),
        _ => Queue::classic(&queue),
    };
    let declared = Endpoint::on(declared).without_subscriptions();
    let declared = declared.consumer(async |_: ConsumeContext<Place>| -> ConsumeResult { Ok(()) });
    let made = Bus::builder(quick(url))
        .endpoint(declared)
        .deploy_topology();
    made.await.expect("the broker is up");
    let bus = Bus::builder(quick(url))
        .start()
        .await
        .expect("the broker is up");
    let (before, after) = INNOCENT.split_at(3);
    for number in before.iter().chain(&[13]).chain(after).copied() {
        let sent = bus.send_to(address(&queue), &Place { number });
        sent.await.expect("confirmed");
    }
    let (mut handled, mut deaths) = (BTreeSet::new(), 0);
    while within("a life", life(&queue, kind, &mut handled)).await {
        deaths += 1;
        assert!(deaths <= MAX_DELIVERIES + 2, "{kind}: it dies without end");
    }
    assert!(deaths >= 2, "{kind}: it has to die to be a fault");
    assert_eq!(
        handled,
        BTreeSet::from(INNOCENT),
        "{kind}: the innocent ones"
    );
    let channel = client(url).await;
    eventually("nothing is left", async || {
        look(&channel, &queue).await.0 == 0
    })
    .await;
    bus.shutdown().await.expect("nothing runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_kills_its_process_is_set_aside_from_a_classic_queue() {
    a_culprit_is_set_aside("classic").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_kills_its_process_is_set_aside_from_a_quorum_queue() {
    a_culprit_is_set_aside("quorum").await;
}
