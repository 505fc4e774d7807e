//! Nothing of a message is lost in the table.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bus_core::message::HeaderValue;
use bus_core::send::{Due, MessageMetadata, MessageRecord, SealedMessage};
use bus_core::topology::{Exchange, Topology};
use bus_core::transport::{Outgoing, ScheduleToken, Target, TransportError, TransportErrorKind};
use bus_tests::{InMemoryTestBroker, Rig, TestBroker, eventually};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::databases::{TestDatabase, on_each_database};

/// Messages of all kinds at once.
const COUNT: u16 = 200;

const HOUR: Duration = Duration::from_secs(3600);

on_each_database! {
    every_part_of_a_message_survives_the_table,
}

/// Keeps what would be sent, and refuses it.
#[derive(Default)]
struct Keeping(Mutex<BTreeMap<Vec<u8>, Outgoing>>);

impl Keeping {
    fn take(&self) -> BTreeMap<Vec<u8>, Outgoing> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[async_trait]
impl Rig for Keeping {
    async fn send(&self, outgoing: &Outgoing) -> Result<(), TransportError> {
        let mut kept = self.0.lock().unwrap();
        kept.insert(outgoing.body.to_vec(), outgoing.clone());
        Err(TransportError::new(TransportErrorKind::TooLarge, "kept"))
    }
}

async fn every_part_of_a_message_survives_the_table<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let rig = Arc::new(Keeping::default());
    let bus = broker
        .rigged(&rig)
        .background(db.sql.relay())
        .start()
        .await
        .unwrap();
    let mut runner = TestRunner::deterministic();
    let sent: Vec<_> = (0..COUNT)
        .map(|number| {
            let tree = outgoing(number.into()).new_tree(&mut runner);
            tree.expect("a message").current()
        })
        .collect();
    let outbox = db.sql.outbox(&bus.sender());
    for (number, outgoing) in sent.iter().enumerate() {
        let mut sealed = plain();
        sealed.outgoing = outgoing.clone();
        sealed.due = is_later(number).then(|| Due::after(Duration::from_millis(500)));
        outbox.sender().forward(sealed).await.unwrap();
    }
    let mut tx = db.sql.pool().begin().await.unwrap();
    outbox.write(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    db.sql.wake();
    let parked = || async { db.rows("parked").await };
    eventually("all were tried", async || {
        parked().await == i64::from(COUNT)
    })
    .await;
    assert_same(&sent, &rig.take());
    // Those that are sent again later are the same too.
    let ids = db.sql.parked(COUNT.into()).await.unwrap();
    let ids: Vec<_> = ids.iter().map(|parked| parked.id).collect();
    db.sql.unpark(&ids).await.unwrap();
    eventually("all were tried again", async || {
        parked().await == i64::from(COUNT) && rig.0.lock().unwrap().len() == usize::from(COUNT)
    })
    .await;
    bus.shutdown().await.unwrap();
    assert_same(&sent, &rig.take());
}

/// Some wait in the table of what is scheduled first.
fn is_later(number: usize) -> bool {
    number.is_multiple_of(3)
}

fn assert_same(sent: &[Outgoing], kept: &BTreeMap<Vec<u8>, Outgoing>) {
    for (number, before) in sent.iter().enumerate() {
        let after = &kept[&before.body.to_vec()];
        let left = |outgoing: &Outgoing| outgoing.ttl.map(|ttl| ttl.as_secs().div_ceil(600));
        assert_eq!(left(after), left(before), "{after:?}");
        let bare = |outgoing: &Outgoing| Outgoing {
            ttl: None,
            deadline: None,
            // It has done its work once the message is due.
            schedule_token: outgoing.schedule_token.filter(|_| !is_later(number)),
            ..outgoing.clone()
        };
        // As text, in which a number that is none equals itself.
        assert_eq!(format!("{:?}", bare(after)), format!("{:?}", bare(before)));
    }
}

fn plain() -> SealedMessage {
    let least = r#"{"version":1,"intent":"send","target":{"queue":"orders"},"durable":true,
        "content_type":"application/json","mandatory":false,"deadline":{"secs":30,"nanos":0}}"#;
    let record = MessageRecord {
        metadata: MessageMetadata::from_json(least).expect("metadata"),
        body: "{}".into(),
    };
    SealedMessage::from_record(record, |_| None).expect("a message")
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

/// Any text, one with a zero character among them: no column of PostgreSQL holds that.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        Just("a\0b".to_owned()),
        Just("'; --".to_owned())
    ]
}

fn target() -> impl Strategy<Value = Target> {
    let exchange = (text(), any::<bool>()).prop_map(|(name, is_ours)| Target::Exchange {
        topology: is_ours.then(|| {
            let exchanges = vec![Exchange::fanout(name.clone())];
            Arc::new(Topology {
                exchanges,
                ..Topology::default()
            })
        }),
        name: Cow::Owned(name),
    });
    prop_oneof![
        exchange,
        text().prop_map(|name| Target::Queue(name.into())),
        text().prop_map(|name| Target::Inbox(name.into())),
    ]
}

fn outgoing(number: usize) -> impl Strategy<Value = Outgoing> {
    let texts = [text(), text(), text()];
    let many = if number == 7 { 900..901 } else { 0..5 };
    let headers = vec(("[a-zA-Z-]{1,12}", header_value()), many);
    let flags = any::<[bool; 7]>();
    (target(), texts, headers, any::<Option<u8>>(), flags).prop_map(
        move |(target, [key, id, correlation], headers, priority, flags)| Outgoing {
            routing_key: key.into(),
            content_type: Some("application/json; charset=utf-8".into()),
            message_id: flags[0].then_some(id),
            correlation_id: flags[1].then_some(correlation),
            headers: headers.into_iter().collect(),
            ordering_key: flags[2].then(|| format!("key\0 {}", number % 7)),
            priority,
            durable: flags[3],
            mandatory: flags[4],
            ttl: flags[5].then_some(HOUR),
            schedule_token: flags[6].then(ScheduleToken::new),
            ..Outgoing::new(target, format!(r#"{{"number":{number}}}"#).into())
        },
    )
}
