//! Messages that a store keeps: nothing is lost, and what cannot be read says why.

#![allow(clippy::unwrap_used)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bus_core::Headers;
use bus_core::message::{HeaderValue, Intent};
use bus_core::send::{
    Due, MessageMetadata, MessageRecord, RecordError, SealedMessage, TargetRecord,
};
use bus_core::topology::{Exchange, Topology};
use bus_core::transport::{Outgoing, ScheduleToken, Target};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use uuid::Uuid;

/// The least that metadata must have.
const LEAST: &str = r#"{"version":1,"intent":"send","target":{"queue":"orders"},
    "content_type":"application/json","durable":true,"mandatory":false,
    "deadline":{"secs":30,"nanos":0}}"#;

const HOUR: Duration = Duration::from_secs(3600);

fn record(metadata: &str, body: &'static str) -> Result<MessageRecord, RecordError> {
    Ok(MessageRecord {
        metadata: MessageMetadata::from_json(metadata)?,
        body: body.into(),
    })
}

fn sealed(metadata: &str, body: &'static str) -> Result<SealedMessage, RecordError> {
    SealedMessage::from_record(record(metadata, body)?, |_| None)
}

fn plain() -> SealedMessage {
    sealed(LEAST, "{}").unwrap()
}

/// As a store does it: metadata in a column with text, the body in one with bytes.
fn stored(sealed: &SealedMessage) -> SealedMessage {
    let MessageRecord { metadata, body } = sealed.to_record();
    let read = MessageMetadata::from_json(&metadata.to_json()).unwrap();
    assert_eq!(read.headers.len(), sealed.outgoing.headers.len());
    let topology = sealed.topology().cloned();
    let find = |id| topology.filter(|topology| topology.fingerprint() == id);
    let record = MessageRecord {
        metadata: read,
        body,
    };
    SealedMessage::from_record(record, find).unwrap()
}

/// The error of a row after a change by hand.
#[track_caller]
fn refused(metadata: &str, body: &'static str, member: &str) -> String {
    let error = sealed(metadata, body).unwrap_err();
    assert_eq!(error.member(), member, "{error}");
    error.to_string()
}

fn header_value() -> impl Strategy<Value = HeaderValue> {
    let leaf = prop_oneof![
        Just(HeaderValue::Null),
        any::<bool>().prop_map(HeaderValue::Bool),
        any::<i64>().prop_map(HeaderValue::Int),
        any::<u64>().prop_map(HeaderValue::Unsigned),
        any::<f64>().prop_map(HeaderValue::Float),
        any::<String>().prop_map(HeaderValue::Text),
        any::<i64>().prop_map(HeaderValue::Timestamp),
        vec(any::<u8>(), 0..9).prop_map(HeaderValue::Bytes),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(HeaderValue::List),
            btree_map(any::<String>(), inner, 0..4).prop_map(HeaderValue::Map),
        ]
    })
}

fn target() -> impl Strategy<Value = Target> {
    let topology = |name: String| Topology {
        exchanges: vec![Exchange::fanout(name)],
        ..Topology::default()
    };
    prop_oneof![
        (any::<String>(), any::<bool>()).prop_map(move |(name, is_ours)| Target::Exchange {
            topology: is_ours.then(|| Arc::new(topology(name.clone()))),
            name: Cow::Owned(name),
        }),
        any::<String>().prop_map(|name| Target::Queue(name.into())),
        any::<String>().prop_map(|name| Target::Inbox(name.into())),
    ]
}

prop_compose! {
    fn outgoing()(
        target in target(),
        texts in [any::<String>(), any::<String>(), any::<String>(), any::<String>()],
        has in [any::<bool>(), any::<bool>(), any::<bool>()],
        headers in vec(("[a-zA-Zß東-]{1,12}", header_value()), 0..5),
        number in any::<u64>(),
        token in option::of(any::<u128>()),
        priority in any::<Option<u8>>(),
        flags in [any::<bool>(), any::<bool>()],
    ) -> Outgoing {
        let [key, id, correlation, order] = texts;
        let [has_id, has_correlation, has_order] = has;
        Outgoing {
            routing_key: key.into(),
            content_type: Some("application/json; charset=utf-8".into()),
            message_id: has_id.then_some(id),
            correlation_id: has_correlation.then_some(correlation),
            headers: headers.into_iter().collect(),
            schedule_token: token.map(|id| Uuid::from_u128(id).into()),
            ordering_key: has_order.then_some(order),
            priority,
            durable: flags[0],
            mandatory: flags[1],
            ..Outgoing::new(target, format!("{{\"number\":{number}}}").into())
        }
    }
}

/// Debug texts differ where values do, also for what is never equal to itself.
fn text(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn a_message_survives_its_record(outgoing in outgoing(), seconds in any::<u64>(), nanos in 0..1_000_000_000_u32) {
        let mut sent = plain();
        sent.outgoing = outgoing;
        sent.intent = Intent::Publish;
        sent.deadline = Duration::new(seconds, nanos);
        let read = stored(&sent);
        prop_assert_eq!(text(&read.outgoing), text(&sent.outgoing));
        prop_assert_eq!((read.intent, read.deadline), (sent.intent, sent.deadline));
        prop_assert_eq!((read.due, &read.envelope.message), (None, &sent.outgoing.body));
        prop_assert_eq!(text(&stored(&read).to_record()), text(&sent.to_record()));
    }

    #[test]
    fn a_due_time_is_kept_to_a_microsecond(micros in 0..4_000_000_000_000_000_u64) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
        let mut sent = plain();
        sent.due = Some(Due::At(time));
        prop_assert_eq!(stored(&sent).due, Some(Due::At(time)));
    }
}

#[test]
fn numbers_beyond_those_of_javascript_are_kept() {
    let numbers = [
        HeaderValue::Int(i64::MIN),
        HeaderValue::Unsigned(u64::MAX),
        HeaderValue::Int((1 << 53) + 1),
        HeaderValue::Float(f64::NAN),
        HeaderValue::Float(f64::NEG_INFINITY),
        HeaderValue::Float(-0.0),
        HeaderValue::Float(f64::from_bits(1)),
    ];
    for number in numbers {
        let mut sent = plain();
        let nested = BTreeMap::from([("in".to_owned(), HeaderValue::List(vec![number]))]);
        sent.outgoing.headers = Headers::from_iter([("Nested", HeaderValue::Map(nested))]);
        assert_eq!(text(&stored(&sent).outgoing), text(&sent.outgoing));
    }
}

#[test]
fn a_wait_in_the_store_counts() {
    let mut sent = plain();
    sent.outgoing.ttl = Some(HOUR);
    sent.due = Some(Due::after(HOUR));
    let mut record = sent.to_record();
    let within = |time: Option<SystemTime>| {
        let left = time.unwrap().duration_since(SystemTime::now()).unwrap();
        assert!(left <= HOUR && left > HOUR / 2, "{left:?}");
    };
    within(record.metadata.expires_at);
    within(record.metadata.due);
    record.metadata.expires_at = Some(SystemTime::now() - HOUR);
    record.metadata.due = Some(SystemTime::now() - HOUR);
    let read = SealedMessage::from_record(record, |_| None).unwrap();
    assert_eq!(read.outgoing.ttl, Some(Duration::ZERO));
    assert_eq!(read.due.map(Due::from_now), Some(Duration::ZERO));
}

#[test]
fn times_without_end_are_kept() {
    let mut sent = plain();
    sent.deadline = Duration::MAX;
    sent.outgoing.ttl = Some(Duration::MAX);
    sent.due = Some(Due::after(Duration::MAX));
    let read = stored(&sent);
    assert_eq!(read.deadline, Duration::MAX);
    assert_eq!(read.outgoing.ttl, None);
    assert!(read.due.unwrap().from_now() > HOUR * 24 * 365 * 99);
}

#[test]
fn a_message_declares_the_topology_that_it_came_with() {
    let topology = Arc::new(Topology {
        exchanges: vec![Exchange::fanout("Orders:Placed")],
        ..Topology::default()
    });
    let mut sent = plain();
    assert_eq!(sent.topology(), None);
    sent.outgoing.target = Target::Exchange {
        name: "Orders:Placed".into(),
        topology: Some(Arc::clone(&topology)),
    };
    let record = sent.to_record();
    let expected = TargetRecord::Exchange {
        name: "Orders:Placed".to_owned(),
        topology: Some(topology.fingerprint()),
    };
    assert_eq!(record.metadata.target, expected);
    let read = SealedMessage::from_record(record.clone(), |_| Some(topology)).unwrap();
    assert_eq!(read.topology(), sent.topology());
    let error = SealedMessage::from_record(record, |_| None).unwrap_err();
    assert_eq!(error.member(), "target.topology");
}

#[test]
fn the_json_of_a_record_stays_what_it_was() {
    let mut sent = plain();
    sent.outgoing.schedule_token = Some(ScheduleToken::from(Uuid::nil()));
    sent.outgoing.headers.insert("Tenant", "north");
    sent.due = Some(Due::At(SystemTime::UNIX_EPOCH + Duration::from_micros(1)));
    let expected = concat!(
        r#"{"version":1,"intent":"send","target":{"queue":"orders"},"#,
        r#""content_type":"application/json","headers":{"Tenant":{"text":"north"}},"#,
        r#""due":"1970-01-01T00:00:00.000001Z","#,
        r#""schedule_token":"00000000-0000-0000-0000-000000000000","#,
        r#""durable":true,"mandatory":false,"deadline":{"secs":30,"nanos":0}}"#,
    );
    assert_eq!(sent.to_record().metadata.to_json(), expected);
}

#[test]
fn a_higher_version_is_refused_and_unknown_members_are_not() {
    let later = LEAST.replace("\"version\":1", "\"version\":1,\"colour\":\"red\"");
    assert_eq!(text(&sealed(&later, "{}").unwrap()), text(&plain()));
    let text = refused(r#"{"version":2,"shape":"other"}"#, "{}", "version");
    assert!(text.contains("2 is higher than 1"), "{text}");
    let mut record = plain().to_record();
    record.metadata.version = 2;
    let error = SealedMessage::from_record(record, |_| None).unwrap_err();
    assert_eq!(error.member(), "version");
}

#[test]
fn a_row_that_was_broken_by_hand_says_where() {
    let with = |members: &str| LEAST.replace("\"durable\"", &format!("{members},\"durable\""));
    refused(LEAST, "{\"number\":", "body");
    refused(LEAST, "", "body");
    refused("not JSON", "{}", ".");
    let text = refused(&LEAST.replace("\"intent\":\"send\",", ""), "{}", ".");
    assert!(text.contains("intent"), "{text}");
    refused(&LEAST.replace("send", "shout"), "{}", "intent");
    refused(&LEAST.replace("queue", "planet"), "{}", "target");
    refused(&LEAST.replace("/json", "/xml"), "{}", "content_type");
    refused(&with(r#""expires_at":"soon""#), "{}", "expires_at");
    refused(&with(r#""schedule_token":"x""#), "{}", "schedule_token");
    let header = with(r#""headers":{"Tenant":{"i64":"seven"}}"#);
    refused(&header, "{}", "headers.Tenant.i64");
    let unread = LEAST.replace("application/json", "application/vnd.masstransit+json");
    refused(&unread, "{}", "body");
}
