//! Properties of the wire format: what is written is read again, and no bytes of strangers can do harm.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bus_core::codec::Codec;
use bus_core::codec::{decode_message, encode_message};
use bus_core::message::{Envelope, HeaderValue, TraceContext};
use bus_core::serde_helpers::Decimal;
use bus_core::transport::Incoming;
use bus_core::{Address, Headers, Message};
use bus_tests::acme::SubmitOrder;
use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
#[message("Tests.Wire:Anything")]
struct Anything {
    text: String,
    number: i64,
    unsigned: u64,
    ratio: f64,
    maybe: Option<bool>,
    list: Vec<String>,
    map: BTreeMap<String, i32>,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
#[message("Tests.Wire:Amounts")]
struct Amounts {
    total: Decimal,
    maybe: Option<Decimal>,
    list: Vec<Decimal>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Plain,
    With(u8),
    Named { a: char },
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Plain),
        any::<u8>().prop_map(Kind::With),
        any::<char>().prop_map(|a| Kind::Named { a }),
    ]
}

prop_compose! {
    fn anything()(
        text in any::<String>(),
        number in any::<i64>(),
        unsigned in any::<u64>(),
        ratio in any::<f64>().prop_filter("JSON has no infinity", |ratio| ratio.is_finite()),
        maybe in any::<Option<bool>>(),
        list in vec(any::<String>(), 0..4),
        map in btree_map(any::<String>(), any::<i32>(), 0..4),
        kind in kind(),
    ) -> Anything {
        Anything { text, number, unsigned, ratio, maybe, list, map, kind }
    }
}

/// Values that JSON tells apart from each other.
fn header_value() -> impl Strategy<Value = HeaderValue> {
    let leaf = prop_oneof![
        Just(HeaderValue::Null),
        any::<bool>().prop_map(HeaderValue::from),
        any::<i64>().prop_map(HeaderValue::from),
        any::<u64>().prop_map(HeaderValue::from),
        any::<f64>()
            .prop_filter("JSON has no infinity", |number| number.is_finite())
            .prop_map(HeaderValue::from),
        any::<String>().prop_map(HeaderValue::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(HeaderValue::List),
            btree_map(any::<String>(), inner, 0..4).prop_map(HeaderValue::Map),
        ]
    })
}

fn id() -> impl Strategy<Value = Option<Uuid>> {
    any::<Option<u128>>().prop_map(|id| id.map(Uuid::from_u128))
}

/// To 100 ns, as .NET writes them.
fn time() -> impl Strategy<Value = Option<SystemTime>> {
    let ticks = 0..(253_402_300_799u64 * 10_000_000);
    prop::option::of(ticks).prop_map(|ticks| {
        let ticks = ticks?;
        let rest = u32::try_from(ticks % 10_000_000).ok()? * 100;
        UNIX_EPOCH.checked_add(Duration::new(ticks / 10_000_000, rest))
    })
}

/// What is blank is read as absent.
fn address() -> impl Strategy<Value = Option<String>> {
    any::<Option<String>>().prop_map(|text| text.filter(|text| !text.trim().is_empty()))
}

prop_compose! {
    fn envelope()(
        ids in [id(), id(), id(), id(), id()],
        addresses in vec(address(), 4),
        types in vec(any::<String>(), 0..3),
        times in [time(), time()],
        headers in vec(("[a-zA-Zß東-]{1,12}", header_value()), 0..5),
        message in anything(),
    ) -> (Envelope, Anything) {
        let mut addresses = addresses.into_iter();
        let [message_id, request_id, correlation_id, conversation_id, initiator_id] = ids;
        let mut next = || addresses.next().flatten().map(Arc::from);
        let envelope = Envelope {
            message_id, request_id, correlation_id, conversation_id, initiator_id,
            source_address: next(),
            destination_address: next(),
            response_address: next(),
            fault_address: next(),
            message_types: types.into_iter().map(Into::into).collect(),
            message: encode_message(&message).expect("JSON"),
            sent_time: times[0],
            expiration_time: times[1],
            headers: headers.into_iter().collect::<Headers>(),
            host: None,
        };
        (envelope, message)
    }
}

fn arrived(codec: Codec, envelope: &Envelope) -> Incoming {
    let encoded = codec.encode(envelope);
    Incoming {
        body: encoded.body,
        headers: encoded.headers,
        content_type: Some(codec.content_type().to_owned()),
        ..Incoming::default()
    }
}

/// Some JSON, with the usual mistakes of JSON that somebody cut or patched.
fn broken_json() -> impl Strategy<Value = Vec<u8>> {
    let whole = envelope().prop_map(|(envelope, _)| Codec::MassTransit.encode(&envelope).body);
    (
        whole,
        any::<prop::sample::Index>(),
        any::<u8>(),
        any::<bool>(),
    )
        .prop_map(|(body, at, byte, cut)| {
            let mut body = body.to_vec();
            let at = at.index(body.len());
            if cut {
                body.truncate(at);
            } else {
                body[at] = byte;
            }
            body
        })
}

/// Reads bytes as everything that a stranger's bytes are read as.
fn read_everything(incoming: &Incoming) {
    for codec in [Codec::MassTransit, Codec::RawJson] {
        let Ok(envelope) = codec.decode(incoming) else {
            continue;
        };
        let _ = decode_message::<Anything>(&envelope.message);
        let _ = decode_message::<SubmitOrder>(&envelope.message);
        let _ = TraceContext::from_headers(&envelope.headers);
        for address in [&envelope.response_address, &envelope.fault_address] {
            let _ = address.as_deref().map(str::parse::<Address>);
        }
        let _ = codec.encode(&envelope);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn an_envelope_survives_the_wire((sent, message) in envelope()) {
        let incoming = arrived(Codec::MassTransit, &sent);
        let received = Codec::MassTransit.decode(&incoming).expect("our own envelope");
        prop_assert_eq!(&received, &sent);
        prop_assert_eq!(decode_message::<Anything>(&received.message).expect("our own message"), message);
    }

    #[test]
    fn an_envelope_is_json_that_others_read((sent, _) in envelope()) {
        let body = arrived(Codec::MassTransit, &sent).body;
        let json: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let id = sent.message_id.map(|id| id.to_string());
        prop_assert_eq!(json["messageId"].as_str(), id.as_deref());
        prop_assert_eq!(json["sourceAddress"].as_str(), sent.source_address.as_deref());
        prop_assert_eq!(json.as_object().expect("an object").len(), 15);
    }

    #[test]
    fn a_bare_message_survives_the_wire((sent, message) in envelope()) {
        let incoming = arrived(Codec::RawJson, &sent);
        let received = Codec::RawJson.decode(&incoming).expect("our own message");
        prop_assert_eq!(received.message_id, sent.message_id);
        prop_assert_eq!(received.request_id, sent.request_id);
        prop_assert_eq!(received.initiator_id, sent.initiator_id);
        prop_assert_eq!(received.source_address, sent.source_address);
        prop_assert_eq!(decode_message::<Anything>(&received.message).expect("our own message"), message);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(body in vec(any::<u8>(), 0..400)) {
        read_everything(&Incoming { body: Bytes::from(body), ..Incoming::default() });
    }

    #[test]
    fn damaged_envelopes_do_no_harm(body in broken_json(), headers in vec((any::<String>(), header_value()), 0..4)) {
        read_everything(&Incoming {
            body: Bytes::from(body),
            headers: headers.into_iter().collect(),
            ..Incoming::default()
        });
    }

    #[test]
    fn an_address_is_read_as_it_is_printed(
        name in "[^\\p{Cc}]{1,60}",
        base in "rabbitmq://h/([a-z%2F]{1,9}/)?",
    ) {
        for address in [
            Address::queue(name.clone()),
            Address::exchange(name.clone()),
            Address::temporary(name),
        ] {
            prop_assert_eq!(address.to_string().parse(), Ok(address.clone()));
            prop_assert_eq!(address.to_uri(&base).parse(), Ok(address));
        }
    }

    #[test]
    fn a_decimal_keeps_the_digits_of_a_number(
        digits in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?",
        blank in "[ \t\r\n]{0,2}",
    ) {
        let json = format!(
            r#"{{"total":{blank}{digits}{blank},"maybe":{digits},"list":[{digits}{blank},"{digits}"]}}"#
        );
        let amounts: Amounts = decode_message(json.as_bytes()).expect("numbers");
        prop_assert_eq!(amounts.total.as_str(), &digits);
        prop_assert_eq!(amounts.maybe.as_ref().map(Decimal::as_str), Some(digits.as_str()));
        prop_assert!(amounts.list.iter().all(|amount| amount.as_str() == digits));
        let again: Amounts = decode_message(&encode_message(&amounts).expect("JSON")).expect("texts");
        prop_assert_eq!(again, amounts);
    }

    #[test]
    fn addresses_of_untrusted_senders_do_no_harm(text in any::<String>(), tail in any::<String>()) {
        let _ = text.parse::<Address>();
        let _ = format!("rabbitmq://{text}/{tail}?temporary=true").parse::<Address>();
    }
}

/// A message part that would fail to decode, behind metadata that is fine.
#[test]
fn reading_the_metadata_never_reads_the_message() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = format!(r#"{{"messageType":["urn:message:A:B"],"message":{{"x":{deep}}}}}"#);
    let incoming = Incoming {
        body: Bytes::from(body),
        ..Incoming::default()
    };
    let envelope = Codec::MassTransit
        .decode(&incoming)
        .expect("the metadata is fine");
    assert!(envelope.is_of_type("urn:message:a:b"));
    assert!(decode_message::<Anything>(&envelope.message).is_err());
    let start = incoming.body.as_ptr() as usize;
    let message = envelope.message.as_ptr() as usize;
    assert!(
        (start..start + incoming.body.len()).contains(&message),
        "a slice of the body"
    );
}
