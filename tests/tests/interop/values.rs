//! A command with every kind of value.

use std::time::{Duration, UNIX_EPOCH};

use bus_core::Endpoint;
use bus_core::serde_helpers::{Base64, DateTime};
use bus_tests::Recorder;
use bus_tests::acme::{OrderLine, SubmitOrder};
use bus_tests::peer::Command;
use serde_json::{Value, json};
use uuid::uuid;

use crate::support::{Host, Sent, assert_alike};

const NOTE: &str = "Grüße, 東京 <b>\"quoted\"</b> & 'single' \u{1F69A}\u{0}\u{2028}";

/// 2026-02-07T14:05:09.1234567Z.
fn submitted_at() -> DateTime {
    let since_1970 = Duration::new(1_770_473_109, 123_456_700);
    DateTime(UNIX_EPOCH + since_1970)
}

fn full() -> SubmitOrder {
    let line = |sku: &str, quantity, price: &str| OrderLine {
        sku: sku.to_owned(),
        quantity,
        unit_price: price.parse().expect("a decimal"),
    };
    SubmitOrder {
        order_id: uuid!("3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
        order_number: "A-1007".to_owned(),
        total: "129.90".parse().expect("a decimal"),
        submitted_at: Some(submitted_at()),
        due_at: Some(DateTime(UNIX_EPOCH + Duration::from_secs(1_770_616_800))),
        kind: 1,
        lines: vec![line("A-7", 2, "49.95"), line("B-9", -1, "0.00000001")],
        tags: [("größe", "XL"), ("Colour", "")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        note: Some(NOTE.to_owned()),
        patience: Some("1.02:03:04.5000000".parse().expect("a span")),
        signature: Some(Base64(vec![1, 2, 3, 255])),
        big: 9_007_199_254_740_993,
        ratio: 0.1,
        urgent: true,
        link: Some("https://example.org/a?b=c&d=e".to_owned()),
    }
}

/// What .NET makes of [`full`], in its own spelling.
fn full_json() -> Value {
    json!({
        "orderId": "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "orderNumber": "A-1007",
        "total": "129.90",
        "submittedAt": "2026-02-07T14:05:09.1234567Z",
        "dueAt": "2026-02-09T06:00:00+00:00",
        "kind": 1,
        "lines": [
            { "sku": "A-7", "quantity": 2, "unitPrice": "49.95" },
            { "sku": "B-9", "quantity": -1, "unitPrice": "0.00000001" },
        ],
        "tags": { "größe": "XL", "Colour": "" },
        "note": NOTE,
        "patience": "1.02:03:04.5000000",
        "signature": "AQID/w==",
        "big": 9_007_199_254_740_993_i64,
        "ratio": 0.1,
        "urgent": true,
        "link": "https://example.org/a?b=c&d=e",
    })
}

fn absent_json() -> Value {
    json!({
        "orderId": "00000000-0000-0000-0000-000000000000",
        "orderNumber": "A-0",
        "total": "0",
        "submittedAt": "0001-01-01T00:00:00",
        "dueAt": null,
        "kind": 0,
        "lines": [],
        "tags": {},
        "note": null,
        "patience": null,
        "signature": null,
        "big": 0,
        "ratio": 0,
        "urgent": false,
        "link": null,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dotnet_reads_every_kind_of_value_that_rust_sends() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-orders"]).await;
    let sent = Sent::default();
    let bus = host.builder().observe(sent.clone()).start().await.unwrap();
    bus.publish(&full()).await.unwrap();
    let consumed = peer.consumed("mt-orders").await;
    assert_eq!(consumed.message, full_json());
    assert_eq!(consumed.consumed_as, "urn:message:Acme.Orders:SubmitOrder");
    assert_eq!(
        consumed.content_type.as_deref(),
        Some("application/vnd.masstransit+json")
    );
    assert_alike(&sent.only(), &consumed);
    let source = consumed.source_address.expect("a source");
    assert!(source.starts_with(&*host.address("")), "{source}");
    assert!(source.ends_with("?temporary=true"), "{source}");
    assert_eq!(
        consumed.destination_address,
        Some(host.address("Acme.Orders:SubmitOrder"))
    );
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dotnet_reads_a_command_in_which_everything_is_absent() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-orders"]).await;
    let bus = host.bus().await;
    let order = SubmitOrder {
        order_number: "A-0".to_owned(),
        // .NET's `DateTime` knows no null: its unset date is the year 1.
        submitted_at: Some(DateTime(UNIX_EPOCH - Duration::from_secs(62_135_596_800))),
        ..SubmitOrder::default()
    };
    bus.publish(&order).await.unwrap();
    let mut expected = absent_json();
    expected["submittedAt"] = json!("0001-01-01T00:00:00Z");
    assert_eq!(peer.consumed("mt-orders").await.message, expected);
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_reads_every_kind_of_value_that_dotnet_sends() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-orders"]).await;
    let recorder = Recorder::<SubmitOrder>::new();
    let bus = host
        .serve(Endpoint::new("rs-orders").consumer(recorder.clone()))
        .await;
    peer.does(Command::publish("SubmitOrder", &full_json()))
        .await;
    let ctx = recorder.next().await;
    assert_eq!(*ctx.message(), full());
    // The same message, read by .NET itself.
    let theirs = peer.consumed("mt-orders").await;
    assert_alike(ctx.envelope(), &theirs);
    assert_eq!(theirs.source_address, Some(peer.address().await));
    assert_eq!(
        theirs.destination_address,
        Some(host.address("Acme.Orders:SubmitOrder"))
    );
    assert_eq!(
        ctx.envelope().message_types.as_ref(),
        ["urn:message:Acme.Orders:SubmitOrder"]
    );
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_reads_dates_of_every_kind_that_dotnet_sends() {
    let host = Host::new().await;
    let peer = host.peer(&[]).await;
    let recorder = Recorder::<SubmitOrder>::new();
    let bus = host
        .serve(
            Endpoint::new("rs-orders")
                .concurrency(1)
                .consumer(recorder.clone()),
        )
        .await;
    let mut order = full_json();
    order["submittedAt"] = json!("2026-02-07T14:05:09.1234567");
    order["dueAt"] = json!("2026-02-09T08:00:00+02:00");
    peer.does(Command::publish("SubmitOrder", &order)).await;
    assert_eq!(
        *recorder.next().await.message(),
        full(),
        "a date without an offset is UTC, one with an offset is the same instant"
    );
    peer.does(Command::publish("SubmitOrder", &absent_json()))
        .await;
    let absent = recorder.next().await;
    let unset = absent.message().submitted_at.expect("never null in .NET");
    assert_eq!(unset.to_string(), "0001-01-01T00:00:00Z");
    let expected = SubmitOrder {
        order_number: "A-0".to_owned(),
        submitted_at: Some(unset),
        ..SubmitOrder::default()
    };
    assert_eq!(*absent.message(), expected);
    bus.shutdown().await.unwrap();
}
