//! What an operator reads in the log. A process of its own, as the log belongs to the process.

use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint, Retry};
use bus_inmemory::InMemory;
use bus_tests::contracts::Place;
use bus_tests::{Log, eventually};
use uuid::Uuid;

#[tokio::test]
async fn a_failure_is_one_line_with_what_an_operator_searches_for() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let endpoint = Endpoint::new("orders")
        .retry(Retry::immediate(3))
        .consumer(async |_: ConsumeContext<Place>| -> ConsumeResult { Err("no stock".into()) });
    let bus = Bus::builder(InMemory::new()).endpoint(endpoint);
    let bus = bus.start().await.unwrap();
    let (id, correlation) = (Uuid::now_v7(), Uuid::now_v7());
    let sent = bus.send_to("queue:orders", &Place { number: 7 });
    let sent = sent.message_id(id).correlation_id(correlation);
    sent.await.unwrap();
    eventually("the failure is in the log", async || {
        !log.lines_with("the message failed").is_empty()
    })
    .await;
    bus.shutdown().await.unwrap();
    let failures = log.lines_with("the message failed");
    let [failure] = &failures[..] else {
        panic!("one line a failure: {failures:?}");
    };
    let (id, correlation) = (
        format!("message_id={id}"),
        format!("correlation_id={correlation}"),
    );
    for text in [
        "ERROR",
        "endpoint=\"orders\"",
        "message_type=\"urn:message:Conformance:Place\"",
        &id,
        &correlation,
        "conversation_id=",
        "attempts=4",
        "moves_to=\"orders_error\"",
        "error=no stock",
    ] {
        assert!(failure.contains(text), "{text} is not in {failure}");
    }
    let retries = log.lines_with("tried again");
    assert_eq!(
        retries.len(),
        2,
        "the second and the third retry: {retries:?}"
    );
    assert!(
        retries
            .iter()
            .all(|line| line.contains("WARN") && line.contains(&id))
    );
}
