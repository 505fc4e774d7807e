//! Bad messages from foreign programs: none stops the endpoint, none is lost.

use std::collections::BTreeMap;

use bus_core::error::SendErrorKind;
use bus_core::message::HeaderValue;
use bus_core::transport::Outgoing;
use bus_core::{ConsumeContext, Endpoint, Message, RawMessage};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::support::contracts::Place;
use crate::support::fixture::{Fixture, reason};
use crate::support::{Gate, Outcome, Recorder, envelope, raw, with};
use crate::test_broker::TestBroker;

/// Sends a message that must end in the error queue, byte for byte, without its
/// consumer; returns the reason.
async fn refused(victim: &Fixture<Place>, bad: Outgoing) -> String {
    let (body, calls) = (bad.body.clone(), victim.seen.calls());
    victim.wire.send(bad).await;
    let kept = victim.errors.next().await;
    assert!(
        kept.body == body,
        "the kept body differs from the one that was sent"
    );
    assert_eq!(kept.headers.text("MT-Reason"), Some("fault"));
    assert_eq!(victim.seen.calls(), calls, "the consumer must not run");
    let reason = kept.headers.text("MT-Fault-Message");
    reason.unwrap_or_default().to_owned()
}

/// Stops an endpoint that must still handle the next good message.
async fn stop_alive(victim: Fixture<Place>) -> Outcome {
    victim.send(&Place { number: 42 }).await?;
    assert_eq!(victim.seen.next().await.message().number, 42);
    victim.stop().await
}

/// Bodies that are no envelope of `Place`, and a part of the reason.
const NO_ENVELOPES: [(&[u8], &str); 14] = [
    (b"", "empty"),
    (b"[]", "not a message envelope"),
    (b"null", "not a message envelope"),
    (b"\"text\"", "not a message envelope"),
    (b"{", "not JSON"),
    (br#"{"messageType":["#, "not JSON"),
    (b"{}", "`message`"),
    (
        br#"{"messageType":["urn:message:Conformance:Place"]}"#,
        "`message`",
    ),
    (
        br#"{"messageType":["urn:message:Conformance:Place"],"message":null}"#,
        "null",
    ),
    (
        br#"{"messageType":["urn:message:Conformance:Place"],"message":[]}"#,
        "Conformance:Place",
    ),
    (
        br#"{"messageType":["urn:message:Conformance:Place"],"message":{}}"#,
        "number",
    ),
    (
        br#"{"messageType":"urn:message:Conformance:Place","message":{}}"#,
        "envelope",
    ),
    (b"\xff\xfe{\x00}\x00", "not JSON"),
    (b"{\"messageType\":[\"\xff\"],\"message\":{}}", "not JSON"),
];

/// Bodies that are no envelope end in the error queue, each with a reason, and the
/// endpoint goes on.
async fn bodies_that_are_no_envelope_are_set_aside(broker: &dyn TestBroker) -> Outcome {
    let victim = Fixture::<Place>::reading(broker).await?;
    for (body, expected) in NO_ENVELOPES {
        let label = String::from_utf8_lossy(body);
        let reason = refused(&victim, raw(&victim.queue, body)).await;
        assert!(reason.contains(expected), "{label}: {reason}");
    }
    stop_alive(victim).await
}

/// Ids in an envelope that are no UUIDs are an error that names member and text.
async fn an_id_that_is_no_uuid_is_an_error(broker: &dyn TestBroker) -> Outcome {
    let victim = Fixture::<Place>::reading(broker).await?;
    for member in [
        "messageId",
        "requestId",
        "correlationId",
        "conversationId",
        "initiatorId",
    ] {
        let body = json!({
            "messageType": [Place::message_type().urn()],
            "message": { "number": 1 },
            member: "order 66",
        });
        let reason = refused(&victim, raw(&victim.queue, body.to_string())).await;
        assert!(
            reason.contains(member) && reason.contains("order 66"),
            "{reason}"
        );
    }
    stop_alive(victim).await
}

/// Message and correlation ids outside of the envelope may be any text.
async fn foreign_ids_outside_of_the_envelope_may_be_any_text(broker: &dyn TestBroker) -> Outcome {
    let victim = Fixture::<Place>::reading(broker).await?;
    let mut foreign = envelope::<Place>(&victim.queue, &json!({ "number": 1 }));
    foreign.message_id = Some("order 66".to_owned());
    foreign.correlation_id = Some("☃".to_owned());
    victim.wire.send(foreign).await;
    let call = victim.seen.next().await;
    assert_eq!(call.incoming().message_id.as_deref(), Some("order 66"));
    assert_eq!(call.incoming().correlation_id.as_deref(), Some("☃"));
    assert_eq!(call.message_id(), None);
    victim.stop().await
}

/// Nesting of hundreds of levels is passed over, or an error if a contract reads
/// it.
async fn deep_nesting_neither_crashes_nor_blocks(broker: &dyn TestBroker) -> Outcome {
    #[derive(Debug, Serialize, Deserialize, Message)]
    #[message("Conformance:Tree")]
    struct Tree {
        children: Vec<Tree>,
    }
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let victim = Fixture::<Place>::reading(broker).await?;
    let urn = Place::message_type().urn();
    let ignored = format!(r#"{{"messageType":["{urn}"],"message":{{"number":7,"deep":{deep}}}}}"#);
    victim.wire.send(raw(&victim.queue, ignored)).await;
    assert_eq!(victim.seen.next().await.message().number, 7);

    let queue = broker.name("forest");
    let trees = Recorder::<Tree>::new();
    let forest = broker
        .start(Endpoint::new(&queue).consumer(trees.clone()))
        .await?;
    let errors = victim.wire.read(&format!("{queue}_error")).await;
    let tree = format!("{}{}", r#"{"children":["#.repeat(200), "]}".repeat(200));
    let body = format!(r#"{{"messageType":["urn:message:Conformance:Tree"],"message":{tree}}}"#);
    victim.wire.send(raw(&queue, body.clone())).await;
    assert_eq!(errors.next().await.body, body);
    assert_eq!(trees.calls(), 0);
    forest.shutdown().await?;
    stop_alive(victim).await
}

/// Transport headers of every kind are carried and do no harm.
async fn headers_of_every_kind_are_carried(broker: &dyn TestBroker) -> Outcome {
    use HeaderValue as Value;
    let victim = Fixture::<Place>::reading(broker).await?;
    let map: BTreeMap<_, _> = [
        ("text".to_owned(), Value::Text("x".to_owned())),
        (
            "list".to_owned(),
            Value::List(vec![Value::Null, Value::Bool(true)]),
        ),
    ]
    .into_iter()
    .collect();
    let values = [
        ("Null", Value::Null),
        ("Bool", Value::Bool(true)),
        ("Int", Value::Int(-1)),
        ("Least", Value::Int(i64::MIN)),
        ("Float", Value::Float(1.5)),
        ("Text", Value::Text(String::new())),
        (
            "List",
            Value::List(vec![Value::Int(1), Value::Map(map.clone())]),
        ),
        ("Map", Value::Map(map)),
        ("Time", Value::Timestamp(1_767_323_045)),
        ("Bytes", Value::Bytes(vec![0, 255, 254])),
    ];
    let mut odd = envelope::<Place>(&victim.queue, &json!({ "number": 1 }));
    odd.headers.extend(values.iter().cloned());
    victim.wire.send(odd).await;
    let call = victim.seen.next().await;
    for (name, value) in &values {
        assert_eq!(call.incoming().headers.get(name), Some(value), "{name}");
    }
    victim.stop().await
}

/// Framework headers with values of the wrong kind do not stop a message.
async fn framework_headers_of_the_wrong_kind_do_no_harm(broker: &dyn TestBroker) -> Outcome {
    let victim = Fixture::<Place>::reading(broker).await?;
    let mut odd = envelope::<Place>(&victim.queue, &json!({ "number": 1 }));
    for name in [
        "MT-Activity-Id",
        "traceparent",
        "MT-Reason",
        "MT-Host-Info",
        "Content-Type",
        "Idempotency-Key",
    ] {
        odd.headers.insert(
            name,
            HeaderValue::List(vec![HeaderValue::Int(1), HeaderValue::Null]),
        );
    }
    victim.wire.send(odd).await;
    assert_eq!(victim.seen.next().await.message().number, 1);
    victim.stop().await
}

/// A message with a flood of headers is set aside whole.
async fn a_flood_of_headers_is_set_aside(broker: &dyn TestBroker) -> Outcome {
    let victim = Fixture::<Place>::reading(broker).await?;
    let mut flood = envelope::<Place>(&victim.queue, &json!({ "number": 1 }));
    flood
        .headers
        .extend((0..1_001).map(|index| (format!("X-{index}"), index)));
    let reason = refused(&victim, flood).await;
    assert!(reason.contains("1000 headers"), "{reason}");
    stop_alive(victim).await
}

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Conformance:Scan")]
struct Scan {
    pages: String,
}

impl Scan {
    fn of(mebibytes: usize) -> Self {
        Self {
            pages: "0123456789abcdef".repeat(mebibytes << 16),
        }
    }
}

/// A body of many frames arrives whole.
async fn a_large_body_arrives_whole(broker: &dyn TestBroker) -> Outcome {
    let archive = Fixture::<Scan>::reading(broker).await?;
    for mebibytes in [1, 8] {
        let sent = Scan::of(mebibytes);
        archive.send(&sent).await?;
        let arrived = archive.seen.next().await;
        assert!(arrived.message().pages == sent.pages, "{mebibytes} MiB");
    }
    archive.stop().await
}

/// A body beyond the broker's limit is refused to its sender alone; one within it
/// arrives.
async fn a_body_beyond_the_limit_costs_its_sender_alone(broker: &dyn TestBroker) -> Outcome {
    let archive = Fixture::<Scan>::reading(broker).await?;
    let huge = Scan::of(20);
    match archive.send(&huge).await {
        Ok(()) => assert!(archive.seen.next().await.message().pages == huge.pages),
        Err(error) => assert_eq!(error.kind(), SendErrorKind::Refused, "{error}"),
    }
    let small = Scan {
        pages: "one".to_owned(),
    };
    archive.send(&small).await?;
    assert_eq!(archive.seen.next().await.message().pages, "one");
    archive.stop().await
}

/// Two good messages around a bad one are handled, in order.
async fn a_bad_message_does_not_hold_up_the_queue(broker: &dyn TestBroker) -> Outcome {
    let victim = Fixture::<Place>::reading(broker).await?;
    for number in [1, 2] {
        victim
            .wire
            .send(envelope::<Place>(
                &victim.queue,
                &json!({ "number": number }),
            ))
            .await;
        victim.wire.send(raw(&victim.queue, "garbage")).await;
    }
    let calls = victim.seen.take(2).await;
    assert_eq!(
        calls
            .iter()
            .map(|call| call.message().number)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    for _ in 0..2 {
        assert_eq!(victim.errors.next().await.body, "garbage");
    }
    victim.stop().await
}

/// A contract whose reader panics.
#[derive(Debug, Serialize, Message)]
#[message("Conformance:Trap")]
struct Trap {
    armed: bool,
}
impl<'de> Deserialize<'de> for Trap {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("the trap snaps")
    }
}

/// A contract whose reader panics fails its own message; everything else on the
/// endpoint goes on.
async fn a_reader_that_panics_fails_its_message_alone(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("trapped");
    let (gate, seen) = (Gate::closed(), Recorder::<Place>::new());
    let beside = with(
        (gate.clone(), seen.clone()),
        |(gate, seen), ctx: ConsumeContext<Place>| async move {
            gate.pass().await;
            seen.note(&ctx);
            Ok(())
        },
    );
    let endpoint = Endpoint::new(&queue)
        .concurrency(2)
        .without_subscriptions()
        .consumer(beside)
        .consumer(Recorder::<Trap>::new());
    let bus = broker.start(endpoint).await?;
    let wire = broker.wire().await;
    let errors = wire.read(&format!("{queue}_error")).await;
    let address = format!("queue:{queue}");
    bus.send_to(address.as_str(), &Place { number: 1 }).await?;
    gate.holds(1).await;
    for _ in 0..5 {
        bus.send_to(address.as_str(), &Trap { armed: true }).await?;
        let failed = errors.next().await;
        let reason = reason(&failed);
        assert!(reason.contains("the trap snaps"), "{reason}");
    }
    assert_eq!(gate.waiting(), 1, "the one beside it still runs");
    gate.open();
    let call = seen.next().await;
    assert!(!call.redelivered());
    bus.shutdown().await?;
    assert_eq!(seen.calls(), 1);
    wire.close().await;
    Ok(())
}

/// A consumer of everything also gets what is no envelope at all.
async fn a_consumer_of_everything_gets_garbage_too(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("bin");
    let seen = Recorder::<RawMessage>::new();
    let bus = broker
        .start(Endpoint::new(&queue).consume_any(seen.clone()))
        .await?;
    let wire = broker.wire().await;
    let mut binary = raw(&queue, Bytes::from_static(&[0, 159, 146, 150]));
    binary.content_type = Some("application/octet-stream".into());
    wire.send(binary).await;
    let call = seen.next().await;
    assert_eq!(call.message().bytes().as_ref(), [0, 159, 146, 150]);
    assert_eq!(
        call.incoming().content_type.as_deref(),
        Some("application/octet-stream")
    );
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

behaviours! { bad_input:
    bodies_that_are_no_envelope_are_set_aside,
    an_id_that_is_no_uuid_is_an_error,
    foreign_ids_outside_of_the_envelope_may_be_any_text,
    deep_nesting_neither_crashes_nor_blocks,
    headers_of_every_kind_are_carried,
    framework_headers_of_the_wrong_kind_do_no_harm,
    a_flood_of_headers_is_set_aside,
    a_large_body_arrives_whole,
    a_body_beyond_the_limit_costs_its_sender_alone,
    a_bad_message_does_not_hold_up_the_queue,
    a_reader_that_panics_fails_its_message_alone,
    a_consumer_of_everything_gets_garbage_too,
}
