//! What a real MassTransit has put on the wire is read right, to the last member.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use bus_core::codec::{Codec, HostInfo};
use bus_core::codec::{DecodeErrorKind, decode_message};
use bus_core::error::ReceiveFault;
use bus_core::message::{Envelope, HeaderValue, TraceContext};
use bus_core::serde_helpers::DateTime;
use bus_core::transport::Incoming;
use bus_core::{Fault, Headers, Message};
use bus_tests::acme::{
    Audited, Changed, CheckStock, OrderEvent, OrderShipped, OrderSubmitted, Ping, Price,
    StockLevels, SubmitOrder,
};
use serde_json::Value;
use uuid::Uuid;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/masstransit")
}

/// The names of all captured messages.
fn captures() -> BTreeSet<String> {
    let files = fs::read_dir(folder()).expect("the captures").flatten();
    let names = files.filter_map(|file| {
        let name = file.file_name().into_string().ok()?;
        name.strip_suffix(".body").map(str::to_owned)
    });
    names.collect()
}

/// A captured message as a transport delivers it.
fn incoming(name: &str) -> Incoming {
    let text = fs::read_to_string(folder().join(format!("{name}.json"))).expect("a capture");
    let description: Value = serde_json::from_str(&text).expect("JSON");
    let body = fs::read(folder().join(format!("{name}.body"))).expect("a body");
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    let properties = &description["properties"];
    let headers = description["headers"].as_object().expect("headers");
    Incoming {
        content_type: text(&properties["content_type"]),
        message_id: text(&properties["message_id"]),
        correlation_id: text(&properties["correlation_id"]),
        exchange: text(&description["exchange"]).unwrap_or_default(),
        headers: headers
            .iter()
            .map(|(name, header)| (name.clone(), amqp_value(header)))
            .collect(),
        body: body.into(),
        ..Incoming::default()
    }
}

fn amqp_value(header: &Value) -> HeaderValue {
    let value = &header["value"];
    match header["type"].as_str().expect("a type letter") {
        "S" => value.as_str().expect("text").into(),
        "I" | "l" => value.as_i64().expect("a number").into(),
        "d" => value.as_f64().expect("a number").into(),
        "t" => value.as_bool().expect("a truth value").into(),
        "T" => time(value).expect("a time").into(),
        other => panic!("type {other}"),
    }
}

fn time(value: &Value) -> Option<SystemTime> {
    let time: Option<DateTime> = serde_json::from_value(value.clone()).expect("a time or null");
    time.map(SystemTime::from)
}

fn header(value: &Value) -> HeaderValue {
    serde_json::from_value(value.clone()).expect("any JSON value is one")
}

fn decode(name: &str) -> Envelope {
    let incoming = incoming(name);
    let codec = Codec::for_incoming(&incoming, Codec::MassTransit).expect("a known type");
    codec
        .decode(&incoming)
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The message part of a capture.
fn message<M: Message>(name: &str) -> M {
    let envelope = decode(name);
    let urn = M::message_type().urn();
    assert!(envelope.is_of_type(&urn), "{name} is a {urn}");
    decode_message(&envelope.message).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn is_raw(name: &str) -> bool {
    incoming(name).content_type.as_deref() == Some("application/json")
}

#[test]
fn the_metadata_of_every_capture_is_what_a_general_reader_sees() {
    let mut checked = 0;
    for name in captures() {
        if is_raw(&name) || name == "error-queue-malformed" {
            continue;
        }
        let incoming = incoming(&name);
        let json: Value = serde_json::from_slice(&incoming.body).expect("JSON");
        let envelope = decode(&name);
        let id = |member: &str| {
            let text = json[member].as_str();
            text.map(|text| text.parse::<Uuid>().expect("a GUID"))
        };
        let text = |member: &str| json[member].as_str();
        assert_eq!(envelope.message_id, id("messageId"), "{name}");
        assert!(envelope.message_id.is_some(), "{name}");
        assert_eq!(envelope.request_id, id("requestId"), "{name}");
        assert_eq!(envelope.correlation_id, id("correlationId"), "{name}");
        assert_eq!(envelope.conversation_id, id("conversationId"), "{name}");
        assert_eq!(envelope.initiator_id, id("initiatorId"), "{name}");
        for (address, member) in [
            (&envelope.source_address, "sourceAddress"),
            (&envelope.destination_address, "destinationAddress"),
            (&envelope.response_address, "responseAddress"),
            (&envelope.fault_address, "faultAddress"),
        ] {
            assert_eq!(address.as_deref(), text(member), "{name}");
        }
        let types: Vec<_> = json["messageType"]
            .as_array()
            .expect("types")
            .iter()
            .collect();
        assert_eq!(types.len(), envelope.message_types.len(), "{name}");
        for (ours, theirs) in envelope.message_types.iter().zip(types) {
            assert_eq!(Some(ours.as_ref()), theirs.as_str(), "{name}");
        }
        assert_eq!(envelope.sent_time, time(&json["sentTime"]), "{name}");
        assert_eq!(
            envelope.expiration_time,
            time(&json["expirationTime"]),
            "{name}"
        );
        let host = HostInfo::from_json(envelope.host.as_ref().expect("a host")).expect("JSON");
        assert_eq!(
            host.machine_name.as_deref(),
            json["host"]["machineName"].as_str()
        );
        assert_eq!(
            host.process_id,
            json["host"]["processId"].as_i64(),
            "{name}"
        );
        assert_eq!(
            host.mass_transit_version.as_deref(),
            Some("8.5.11.0"),
            "{name}"
        );
        let message: Value = serde_json::from_slice(&envelope.message).expect("JSON");
        assert_eq!(message, json["message"], "{name}");
        for (member, value) in json["headers"].as_object().expect("headers") {
            assert_eq!(envelope.headers.get(member), Some(&header(value)), "{name}");
        }
        assert!(!envelope.headers.contains("x-dotnet-pub-seq-no"), "{name}");
        checked += 1;
    }
    assert_eq!(checked, captures().len() - 3);
}

#[test]
fn every_kind_of_value_is_read() {
    let whole = |name: &str| {
        let order: SubmitOrder = message(name);
        assert_eq!(
            order.order_id.to_string(),
            "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
        );
        assert_eq!(order.order_number, "A-1007");
        assert_eq!(order.total.as_str(), "129.90");
        let submitted = order.submitted_at.expect("a date").to_string();
        assert_eq!(submitted, "2026-02-07T14:05:09.1234567Z");
        assert_eq!(
            order.due_at.expect("a date").to_string(),
            "2026-02-09T06:00:00Z"
        );
        assert_eq!(order.kind, 1);
        let lines: Vec<_> = order
            .lines
            .iter()
            .map(|line| (line.sku.as_str(), line.quantity))
            .collect();
        assert_eq!(lines, [("A-7", 2), ("B-9", 1)]);
        assert_eq!(order.lines[0].unit_price.as_str(), "49.95");
        assert_eq!(order.tags["größe"], "XL");
        assert_eq!(
            order.note.as_deref(),
            Some("Grüße, 東京 <b>\"quoted\"</b> & 'single' \u{1F69A}")
        );
        assert_eq!(order.patience.expect("a span").ticks(), 937_845_000_000);
        assert_eq!(order.signature.expect("bytes").0, [1, 2, 3, 255]);
        assert_eq!(order.big, 9_007_199_254_740_993);
        assert!((order.ratio - 0.1).abs() < f64::EPSILON);
        assert!(order.urgent);
        assert_eq!(order.link.as_deref(), Some("https://example.org/a?b=c&d=e"));
    };
    for name in ["publish", "publish-raw"] {
        whole(name);
    }
    for name in ["newtonsoft-publish", "newtonsoft-raw-publish"] {
        let order: SubmitOrder = message(name);
        assert_eq!(order.order_number, "A-1007", "{name}");
        assert_eq!(order.big, 9_007_199_254_740_993, "{name}");
    }
    let absent: SubmitOrder = message("newtonsoft-publish-absent");
    let expected = SubmitOrder {
        order_id: absent.order_id,
        order_number: "A-0".to_owned(),
        ..SubmitOrder::default()
    };
    assert_eq!(
        absent, expected,
        "what Newtonsoft leaves out has its default"
    );
}

#[test]
fn commands_events_queries_and_documents_are_read() {
    for name in ["consumed-command", "error-queue"] {
        assert!(!message::<SubmitOrder>(name).order_number.is_empty());
    }
    for name in [
        "publish-polymorphic",
        "publish-traced",
        "published-while-consuming",
    ] {
        let event: OrderSubmitted = message(name);
        assert_eq!(message::<OrderEvent>(name).order_number, event.order_number);
        assert_eq!(message::<Audited>(name).user, event.user);
        assert_eq!(decode(name).correlation_id, Some(event.correlation_id));
    }
    for name in [
        "publish-headers",
        "send",
        "sent-while-consuming",
        "skipped-queue",
    ] {
        let event: OrderShipped = message(name);
        assert_eq!(
            message::<OrderEvent>(name).correlation_id,
            event.correlation_id
        );
    }
    let changed: Changed<Price> = message("publish-generic");
    assert!(changed.before.is_some() || changed.after.is_some());
    assert_eq!(
        Changed::<Price>::message_type().entity_name(),
        incoming("publish-generic").exchange
    );
    message::<Ping>("publish-nested");
    assert_eq!(
        Ping::message_type().entity_name(),
        incoming("publish-nested").exchange
    );
    for name in ["query-request", "query-sent-request", "query-fault-request"] {
        message::<CheckStock>(name);
        let envelope = decode(name);
        assert!(envelope.request_id.is_some() && envelope.response_address.is_some());
        let HeaderValue::List(accepted) = &envelope
            .headers
            .get("MT-Request-AcceptType")
            .expect("accepted types")
        else {
            panic!("a list");
        };
        assert_eq!(
            accepted[0].as_str(),
            Some("urn:message:Acme.Orders:StockLevels")
        );
    }
    for (reply, request) in [
        ("query-reply", "query-request"),
        ("query-sent-reply", "query-sent-request"),
    ] {
        message::<StockLevels>(reply);
        assert_eq!(decode(reply).request_id, decode(request).request_id);
    }
}

#[test]
fn faults_are_read() {
    let fault: Fault<SubmitOrder> = message("fault-published");
    assert_eq!(
        fault.exceptions[0].exception_type,
        "System.InvalidOperationException"
    );
    assert_eq!(
        fault.fault_message_types.as_deref().expect("types"),
        ["urn:message:Acme.Orders:SubmitOrder"]
    );
    assert!(
        fault
            .message
            .expect("the command")
            .order_number
            .starts_with("fail")
    );
    assert_eq!(
        decode("fault-published")
            .headers
            .get("MT-Fault-RetryCount")
            .and_then(HeaderValue::as_i64),
        Some(2)
    );
    let fault: Fault<CheckStock> = message("query-fault-reply");
    let inner = fault.exceptions[0]
        .inner_exception
        .as_ref()
        .expect("a cause");
    assert_eq!(inner.message, "it did not answer");
    assert_eq!(
        fault.faulted_message_id,
        decode("query-fault-request").message_id
    );
    for name in ["receive-fault-malformed", "receive-fault-wrong-members"] {
        let fault: ReceiveFault = message(name);
        assert!(!fault.exceptions.is_empty(), "{name}");
        assert_eq!(
            fault.content_type.as_deref(),
            Some("application/vnd.masstransit+json")
        );
    }
}

#[test]
fn bare_json_has_its_metadata_in_the_headers() {
    for name in ["publish-raw", "newtonsoft-raw-publish"] {
        let (incoming, envelope) = (incoming(name), decode(name));
        assert_eq!(envelope.message, incoming.body);
        let header = |name: &str| incoming.headers.text(name);
        assert_eq!(
            envelope.message_id.map(|id| id.to_string()).as_deref(),
            header("MessageId")
        );
        assert_eq!(
            envelope.conversation_id.map(|id| id.to_string()).as_deref(),
            header("ConversationId")
        );
        assert_eq!(
            envelope.source_address.as_deref(),
            header("MT-Source-Address")
        );
        assert_eq!(
            envelope.message_types.as_ref(),
            ["urn:message:Acme.Orders:SubmitOrder"]
        );
        assert_eq!(envelope.headers.text("Tenant"), Some("north"));
        assert_eq!(
            envelope.headers.len(),
            1,
            "the rest is metadata: {:?}",
            envelope.headers
        );
        let host = HostInfo::from_json(envelope.host.as_ref().expect("a host")).expect("JSON");
        assert_eq!(host.process_name.as_deref(), Some("masstransit-peer"));
    }
}

#[test]
fn headers_of_every_kind_are_read() {
    let headers = decode("publish-headers").headers;
    let expected: Headers = [
        ("Tenant", HeaderValue::from("north")),
        ("Attempt", 7.into()),
        ("Ratio", 2.5.into()),
        ("Yes", true.into()),
        ("No", false.into()),
        ("Id", "11111111-2222-3333-4444-555555555555".into()),
        ("When", "2026-02-07T14:05:09.1234567Z".into()),
        (
            "List",
            HeaderValue::List(vec!["a".into(), "b".into(), 3.into()]),
        ),
        (
            "Map",
            HeaderValue::Map([("k".to_owned(), "v".into()), ("n".to_owned(), 1.into())].into()),
        ),
        ("Größe", "Straße 東京".into()),
    ]
    .into_iter()
    .collect();
    assert_eq!(headers, expected);
    let trace = TraceContext::from_headers(&decode("publish-traced").headers);
    assert!(trace.is_some());
}

#[test]
fn a_malformed_body_is_an_error_that_says_so() {
    let incoming = incoming("error-queue-malformed");
    let error = Codec::MassTransit.decode(&incoming).unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::NotJson, "{error}");
}

#[test]
fn commands_for_a_scheduler_are_envelopes_too() {
    for (name, urn) in [
        (
            "schedule",
            "urn:message:MassTransit.Scheduling:ScheduleMessage",
        ),
        (
            "schedule-cancel",
            "urn:message:MassTransit.Scheduling:CancelScheduledMessage",
        ),
    ] {
        let envelope = decode(name);
        assert!(envelope.is_of_type(urn));
        assert!(bus_core::codec::is_json(&envelope.message));
    }
}
