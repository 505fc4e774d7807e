//! Headers and properties of every kind.

use std::time::Duration;

use bus_core::Endpoint;
use bus_core::message::HeaderValue;
use bus_tests::Recorder;
use bus_tests::acme::OrderShipped;
use bus_tests::peer::Command;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Host, Sent, assert_alike, order, shipped};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dotnet_reads_headers_of_every_kind_that_rust_sends() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-shipped"]).await;
    let sent = Sent::default();
    let bus = host.builder().observe(sent.clone()).start().await.unwrap();
    let list = HeaderValue::List(vec!["a".into(), 3.into(), HeaderValue::Null]);
    let map = HeaderValue::Map([("k".to_owned(), list.clone())].into());
    bus.publish(&shipped("A-1"))
        .header("Tenant", "north")
        .header("Attempt", 7)
        .header("Big", 9_007_199_254_740_993_i64)
        .header("Ratio", 2.5)
        .header("Yes", true)
        .header("No", false)
        .header("Id", Uuid::nil())
        .header("When", std::time::UNIX_EPOCH)
        .header("List", list)
        .header("Map", map)
        .header("Größe", "Straße 東京 \u{1F69A}")
        .await
        .unwrap();
    let consumed = peer.consumed("mt-shipped").await;
    assert_alike(&sent.only(), &consumed);
    let mut mirrored = consumed.transport_headers;
    // MassTransit shows properties and the trace among them.
    mirrored.retain(|name, _| {
        !name.starts_with("RabbitMQ-")
            && ![
                "MessageId",
                "CorrelationId",
                "MT-Activity-Id",
                "traceparent",
            ]
            .contains(&name.as_str())
    });
    let expected = json!({
        "Tenant": "north",
        "Attempt": 7,
        "Big": 9_007_199_254_740_993_i64,
        "Ratio": 2.5,
        "Yes": "True",
        "Id": Uuid::nil(),
        // An AMQP timestamp, which .NET's JSON serializer spells so.
        "When": {},
        "Größe": "Straße 東京 \u{1F69A}",
    });
    assert_eq!(Value::Object(mirrored), expected);
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_reads_headers_of_every_kind_that_dotnet_sends() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-shipped"]).await;
    let recorder = Recorder::<OrderShipped>::new();
    let bus = host
        .serve(Endpoint::new("rs-shipped").consumer(recorder.clone()))
        .await;
    let headers = json!({
        "Tenant": "north",
        "Attempt": 7,
        "Big": 9_007_199_254_740_993_i64,
        "Ratio": 2.5,
        "Yes": true,
        "No": false,
        "Id": "guid:11111111-2222-3333-4444-555555555555",
        "When": "date:2026-02-07T14:05:09.1234567Z",
        "List": ["a", "b", 3],
        "Map": { "k": "v", "n": 1 },
        "Größe": "Straße 東京 \u{1F69A}",
    });
    let command = Command::publish("OrderShipped", &shipped("A-1"));
    peer.does(command.with("headers", headers.clone())).await;
    let (ctx, theirs) = (recorder.next().await, peer.consumed("mt-shipped").await);
    assert_alike(ctx.envelope(), &theirs);
    let mut expected = headers;
    expected["Id"] = json!("11111111-2222-3333-4444-555555555555");
    expected["When"] = json!("2026-02-07T14:05:09.1234567Z");
    assert_eq!(serde_json::to_value(ctx.headers()).unwrap(), expected);
    bus.shutdown().await.unwrap();
}

/// MassTransit keeps the properties of a message that it moves to the error queue: what is found there is what it read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dotnet_reads_time_to_live_priority_and_durability_that_rust_sets() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-orders"]).await;
    let sent = Sent::default();
    let bus = host.builder().observe(sent.clone()).start().await.unwrap();
    bus.publish(&order("fail-1"))
        .ttl(Duration::from_secs(600))
        .priority(5)
        .transient()
        .await
        .unwrap();
    let consumed = peer.consumed("mt-orders").await;
    let ours = sent.only();
    assert_alike(&ours, &consumed);
    let lives = ours
        .expiration_time
        .expect("set")
        .duration_since(ours.sent_time.expect("set"));
    assert_eq!(lives.unwrap(), Duration::from_secs(600));
    let properties = host.take("mt-orders_error").await.delivery.properties;
    assert_eq!(*properties.priority(), Some(5));
    assert_eq!(*properties.delivery_mode(), Some(1));
    assert_eq!(*properties.expiration(), None, "what failed is kept");
    let id = ours.message_id.expect("set").to_string();
    assert_eq!(
        properties.message_id().as_ref().map(ToString::to_string),
        Some(id)
    );
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_reads_time_to_live_priority_and_durability_that_dotnet_sets() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-shipped"]).await;
    let recorder = Recorder::<OrderShipped>::new();
    let bus = host
        .serve(
            Endpoint::new("rs-shipped")
                .concurrency(1)
                .consumer(recorder.clone()),
        )
        .await;
    let command = Command::publish("OrderShipped", &shipped("A-1"))
        .with("ttlMs", 600_000)
        .with("priority", 5)
        .with("durable", false);
    peer.does(command).await;
    let ctx = recorder.next().await;
    assert_alike(ctx.envelope(), &peer.consumed("mt-shipped").await);
    let incoming = ctx.incoming();
    assert_eq!(incoming.ttl, Some(Duration::from_secs(600)));
    assert_eq!(incoming.priority, Some(5));
    assert!(!incoming.durable);
    peer.does(Command::publish("OrderShipped", &shipped("A-1")))
        .await;
    let plain = recorder.next().await;
    assert_eq!(
        (plain.incoming().ttl, plain.incoming().priority),
        (None, None)
    );
    assert!(plain.incoming().durable, "the default");
    bus.shutdown().await.unwrap();
}
