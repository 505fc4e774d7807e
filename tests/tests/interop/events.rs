//! Events, consumed as themselves and as their base contracts.

use bus_core::Endpoint;
use bus_tests::Recorder;
use bus_tests::acme::{Audited, OrderEvent, OrderSubmitted};
use bus_tests::peer::Command;
use uuid::Uuid;

use crate::support::{Host, Sent, assert_alike, shipped};

const SUBMITTED: [&str; 3] = [
    "urn:message:Acme.Orders:OrderSubmitted",
    "urn:message:Acme.Orders:OrderEvent",
    "urn:message:Acme.Orders:Audited",
];

fn submitted(number: &str) -> OrderSubmitted {
    OrderSubmitted {
        correlation_id: Uuid::new_v4(),
        order_number: number.to_owned(),
        total: "12.50".parse().expect("a decimal"),
        user: Some("frida".to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dotnet_consumes_an_event_of_rust_as_itself_and_as_its_base() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-events", "mt-order-submitted"]).await;
    let sent = Sent::default();
    let bus = host.builder().observe(sent.clone()).start().await.unwrap();
    let event = submitted("A-1");
    bus.publish(&event).await.unwrap();
    for (endpoint, urn) in [
        ("mt-order-submitted", SUBMITTED[0]),
        ("mt-events", SUBMITTED[1]),
    ] {
        let consumed = peer.consumed(endpoint).await;
        assert_alike(&sent.only(), &consumed);
        assert_eq!(consumed.consumed_as, urn);
        assert_eq!(consumed.message_type, SUBMITTED);
        assert_eq!(consumed.correlation_id, Some(event.correlation_id));
        let base: OrderEvent = consumed.message();
        assert_eq!(base.order_number, "A-1");
        assert_eq!(
            consumed.destination_address,
            Some(host.address("Acme.Orders:OrderSubmitted"))
        );
    }
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_consumer_of_dotnet_may_start_after_the_publisher() {
    let host = Host::new().await;
    let bus = host.bus().await;
    bus.publish(&submitted("nobody is there")).await.unwrap();
    bus.publish(&shipped("nobody is there")).await.unwrap();
    let peer = host.peer(&["mt-events"]).await;
    bus.publish(&submitted("A-2")).await.unwrap();
    let first: OrderEvent = peer.consumed("mt-events").await.message();
    bus.publish(&shipped("A-3")).await.unwrap();
    let second: OrderEvent = peer.consumed("mt-events").await.message();
    assert_eq!([first.order_number, second.order_number], ["A-2", "A-3"]);
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_consumes_an_event_of_dotnet_as_itself_and_as_both_bases() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-order-submitted"]).await;
    let own = Recorder::<OrderSubmitted>::new();
    let base = Recorder::<OrderEvent>::new();
    let audit = Recorder::<Audited>::new();
    let bus = host
        .builder()
        .endpoint(Endpoint::new("rs-submitted").consumer(own.clone()))
        .endpoint(Endpoint::new("rs-events").consumer(base.clone()))
        .endpoint(Endpoint::new("rs-audit").consumer(audit.clone()))
        .start()
        .await
        .unwrap();
    let event = submitted("A-4");
    peer.does(Command::publish("OrderSubmitted", &event)).await;
    let theirs = peer.consumed("mt-order-submitted").await;
    let own = own.next().await;
    assert_eq!(*own.message(), event);
    assert_alike(own.envelope(), &theirs);
    assert_eq!(own.envelope().message_types.as_ref(), SUBMITTED);
    assert_eq!(own.correlation_id(), Some(event.correlation_id));
    assert_eq!(own.envelope().source_address, Some(peer.address().await));
    let base = base.next().await;
    assert_eq!(base.message().correlation_id, event.correlation_id);
    assert_eq!(base.message().order_number, "A-4");
    assert_alike(base.envelope(), &theirs);
    let audit = audit.next().await;
    assert_eq!(audit.message().user.as_deref(), Some("frida"));
    assert_alike(audit.envelope(), &theirs);
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_consumer_of_rust_may_start_after_the_publisher() {
    let host = Host::new().await;
    let peer = host.peer(&[]).await;
    for (contract, message) in [
        (
            "OrderSubmitted",
            serde_json::to_value(submitted("nobody is there")),
        ),
        (
            "OrderShipped",
            serde_json::to_value(shipped("nobody is there")),
        ),
    ] {
        peer.does(Command::publish(contract, &message.unwrap()))
            .await;
    }
    let recorder = Recorder::<OrderEvent>::new();
    let bus = host
        .serve(Endpoint::new("rs-events").consumer(recorder.clone()))
        .await;
    peer.does(Command::publish("OrderSubmitted", &submitted("A-5")))
        .await;
    let first = recorder.next().await;
    peer.does(Command::publish("OrderShipped", &shipped("A-6")))
        .await;
    let second = recorder.next().await;
    assert_eq!(first.message().order_number, "A-5");
    assert_eq!(second.message().order_number, "A-6");
    bus.shutdown().await.unwrap();
}
