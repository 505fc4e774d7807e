//! A message that one side gave up, sent back to its queue and consumed by the other.

use bus_core::{ConsumeError, Endpoint, Policy};
use bus_tests::Recorder;
use bus_tests::acme::SubmitOrder;
use bus_tests::peer::Command;
use lapin::message::BasicGetMessage;
use lapin::options::BasicPublishOptions;
use serde_json::json;

use crate::support::{Host, Sent, assert_alike, header, order};

/// As a shovel does: the message as it is, to the queue of that name.
async fn send_back(host: &Host, failed: &BasicGetMessage, queue: &str) {
    let channel = host
        .connect()
        .await
        .create_channel()
        .await
        .expect("a channel");
    let (options, properties) = (BasicPublishOptions::default(), &failed.delivery.properties);
    channel
        .basic_publish(
            "".into(),
            queue.into(),
            options,
            &failed.delivery.data,
            properties.clone(),
        )
        .await
        .expect("published");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_consumes_what_dotnet_gave_up() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-orders"]).await;
    let failing = order("fail-1");
    let command =
        Command::publish("SubmitOrder", &failing).with("headers", json!({ "Tenant": "north" }));
    peer.does(command).await;
    let theirs = peer.consumed("mt-orders").await;
    let failed = host.take("mt-orders_error").await;
    let properties = &failed.delivery.properties;
    assert_eq!(header(properties, "MT-Reason"), "fault");
    assert_eq!(
        header(properties, "MT-Fault-Message"),
        "Order fail-1 is refused"
    );
    peer.stop().await;

    send_back(&host, &failed, "mt-orders").await;
    let recorder = Recorder::<SubmitOrder>::new();
    let bus = host
        .serve(Endpoint::new("mt-orders").consumer(recorder.clone()))
        .await;
    let ctx = recorder.next().await;
    assert_eq!(*ctx.message(), failing);
    let mut envelope = ctx.envelope().clone();
    assert_eq!(
        envelope.headers.text("MT-Reason"),
        Some("fault"),
        "why it was there"
    );
    envelope.headers.retain(|name, _| !name.starts_with("MT-"));
    assert_alike(&envelope, &theirs);
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dotnet_consumes_what_rust_gave_up() {
    let host = Host::new().await;
    let recorder = Recorder::<SubmitOrder>::deciding(|_| Err(ConsumeError::from("not today")));
    let sent = Sent::default();
    let service = host
        .serve(
            Endpoint::new("mt-orders")
                .policy(Policy::new().without_published_faults())
                .consumer(recorder.clone()),
        )
        .await;
    let bus = host.builder().observe(sent.clone()).start().await.unwrap();
    let command = order("A-1");
    bus.publish(&command)
        .header("Tenant", "north")
        .await
        .unwrap();
    recorder.next().await;
    let failed = host.take("mt-orders_error").await;
    let properties = &failed.delivery.properties;
    assert_eq!(header(properties, "MT-Reason"), "fault");
    assert_eq!(header(properties, "MT-Fault-Message"), "not today");
    assert_eq!(
        header(properties, "MT-Fault-MessageType"),
        "Acme.Orders.SubmitOrder"
    );
    assert_eq!(
        header(properties, "MT-Fault-InputAddress"),
        host.address("mt-orders").as_ref()
    );
    service.shutdown().await.unwrap();

    send_back(&host, &failed, "mt-orders").await;
    let peer = host.peer(&["mt-orders"]).await;
    let consumed = peer.consumed("mt-orders").await;
    let received: SubmitOrder = consumed.message();
    assert_eq!(received.order_id, command.order_id);
    assert_alike(&sent.only(), &consumed);
    assert_eq!(consumed.transport_headers["MT-Fault-Message"], "not today");
    bus.shutdown().await.unwrap();
}

/// Both sides fail on one queue: the second failure replaces the reasons of the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_error_queue_of_one_side_is_that_of_the_other() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-orders"]).await;
    peer.does(Command::publish("SubmitOrder", &order("fail-1")))
        .await;
    let first = host.take("mt-orders_error").await;
    peer.stop().await;
    send_back(&host, &first, "mt-orders").await;
    let recorder = Recorder::<SubmitOrder>::failing();
    let bus = host
        .serve(Endpoint::new("mt-orders").consumer(recorder.clone()))
        .await;
    let second = host.take("mt-orders_error").await;
    assert_eq!(second.delivery.data, first.delivery.data);
    let properties = &second.delivery.properties;
    assert_eq!(header(properties, "MT-Fault-Message"), "broken");
    assert_eq!(
        properties.message_id(),
        first.delivery.properties.message_id()
    );
    bus.shutdown().await.unwrap();
}
