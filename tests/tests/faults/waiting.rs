//! Some messages cannot go: the others do, and nobody waits past the deadline.

use futures_util::FutureExt;

use tokio::time::Instant;

use super::*;

/// How exactly deadlines are kept where processors are few.
const LATE: Duration = Duration::from_millis(500);

/// A broker under an alarm reads nothing from who has published, so it answers no declaration
/// either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declaration_that_gets_no_answer_keeps_nobody_past_the_deadline() {
    let broker = Broker::private().await;
    let (known, new) = (unique("known"), unique("new"));
    let bus = Bus::builder(quick(broker.url())).start().await.unwrap();
    let (to_known, to_new) = (address(&known), address(&new));
    let place = Place { number: 1 };
    bus.send_to(to_known.as_str(), &place).await.unwrap();
    broker
        .control(&["set_vm_memory_high_watermark", "0.00001"])
        .await;
    let timed = async |to: &str, deadline: Duration| {
        let started = Instant::now();
        let sent = bus.send_to(to, &place).deadline(deadline).await;
        (sent.expect_err("an alarm"), started.elapsed())
    };
    let second = Duration::from_secs(1);
    // The first one makes the broker block the connection; the second one wants a declaration, and
    // has time.
    let mut first = Box::pin(timed(&to_known, second));
    assert!((&mut first).now_or_never().is_none());
    let patient = bus.send_to(to_new.as_str(), &place);
    let mut patient = patient.deadline(Duration::from_secs(600)).into_future();
    assert!((&mut patient).now_or_never().is_none());
    let (same, other) = (timed(&to_known, second), timed(&to_new, second));
    let waiting = async { tokio::join!(first, same, other) };
    let (first, same, other) = within("the deadlines", waiting).await;
    for (error, after) in [first, same, other] {
        assert!(after < second + LATE, "{after:?}: {error}");
        assert!(error.to_string().contains("memory"), "{error}");
    }
    broker
        .control(&["set_vm_memory_high_watermark", "0.4"])
        .await;
    within("the patient one", patient).await.unwrap();
    bus.shutdown().await.unwrap();
}
