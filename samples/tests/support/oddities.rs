//! Messages that nobody should send, and that somebody will.

use bus_tests::raw_amqp::{Property, entry, nested, nested_tables, text};
use uuid::Uuid;

/// What an envelope says that it is.
pub(crate) const ENVELOPE: &[u8] = b"application/vnd.masstransit+json";

/// A message that is odd in one way, and else a command for the invoice with its name as the number.
pub(crate) struct Oddity {
    pub(crate) name: String,
    pub(crate) properties: Vec<Property>,
    pub(crate) body: Vec<u8>,
}

/// An envelope around a command for the invoice of this number.
fn command(number: &str, customer: &str) -> String {
    let id = Uuid::now_v7();
    format!(
        r#"{{"messageId":"{id}","messageType":["urn:message:Samples.Invoicing:CreateInvoice"],"message":{}}}"#,
        inner(number, customer)
    )
}

fn inner(number: &str, customer: &str) -> String {
    let id = Uuid::now_v7();
    format!(
        r#"{{"invoiceId":"{id}","number":"{number}","customer":"{customer}","amountCents":995,"prepaid":false}}"#
    )
}

fn body(name: &str, body: impl Into<Vec<u8>>) -> Oddity {
    Oddity {
        name: name.to_owned(),
        properties: vec![Property::content_type(ENVELOPE)],
        body: body.into(),
    }
}

fn property(name: &str, property: Property) -> Oddity {
    let mut odd = body(name, command(name, "odd"));
    odd.properties.push(property);
    odd
}

fn content_type(name: &str, content_type: &[u8], body: impl Into<Vec<u8>>) -> Oddity {
    Oddity {
        name: name.to_owned(),
        properties: vec![Property::content_type(content_type)],
        body: body.into(),
    }
}

/// Every property, and every place in the headers, that holds text, with bytes that are none.
pub(crate) fn texts_that_are_none() -> Vec<Oddity> {
    let odd: &[u8] = b"Caf\xe9 \xff\xfe";
    let header = |name, value| Property::headers(&[entry(name, value)]);
    vec![
        content_type("content type", odd, command("content type", "odd")),
        property("content encoding", Property::content_encoding(odd)),
        property("correlation id", Property::correlation_id(odd)),
        property("reply to", Property::reply_to(odd)),
        property("message id", Property::message_id(odd)),
        property("type", Property::kind(odd)),
        property("app id", Property::app_id(odd)),
        property("cluster id", Property::cluster_id(odd)),
        property("255 bytes", Property::message_id(&[0xf0; 255])),
        property("header name", header(b"stra\xdfe", text(b"x"))),
        property("header value", header(b"h", text(odd))),
        property("header of the bus", header(b"MT-Reason", text(odd))),
        property("empty header name", header(b"", text(b"x"))),
        property("texts with a NUL", header(b"a\0b", text(b"c\0d"))),
    ]
}

/// Headers that are deep, or many.
pub(crate) fn headers_without_measure() -> Vec<Oddity> {
    let header = |value| Property::headers(&[entry(b"n", value)]);
    let many = |count: usize| -> Vec<_> {
        let name = |index| format!("header-{index}").into_bytes();
        (0..count)
            .map(|index| entry(&name(index), text(b"x")))
            .collect()
    };
    vec![
        property("lists", header(nested(1_000))),
        property("lists to the brim", header(nested(25_000))),
        property("tables", header(nested_tables(1_000))),
        property("tables to the brim", header(nested_tables(18_000))),
        property("200 headers", Property::headers(&many(200))),
        property(
            "one name often",
            Property::headers(&vec![entry(b"again", text(b"x")); 50]),
        ),
    ]
}

/// Headers that take nearly a whole frame.
pub(crate) fn headers_of_a_whole_frame() -> Oddity {
    let large = vec![b'x'; 118 * 1024];
    let headers = Property::headers(&[entry(b"large", text(&large))]);
    let mut odd = property("118 KiB of headers", headers);
    // It fails, so that it has to be moved with what the bus adds.
    odd.body = b"{}".to_vec();
    odd
}

/// Properties whose values mean nothing, or too much.
pub(crate) fn values_that_mean_nothing() -> Vec<Oddity> {
    vec![
        property("highest priority", Property::priority(255)),
        property("unknown delivery mode", Property::delivery_mode(9)),
        property("end of time", Property::timestamp(u64::MAX)),
        property("reply to nowhere", Property::reply_to(b"nowhere")),
        property("expiration of words", Property::expiration(b"tomorrow")),
        property("expiration below zero", Property::expiration(b"-1")),
        property("expiration of a fraction", Property::expiration(b"1.5e9")),
        property("late expiration", Property::expiration(b"4294967295")),
        property("empty id", Property::message_id(b"")),
        content_type("unknown content type", b"application/x-unknown", "x=1"),
        content_type("plain text", b"text/plain", "make me an invoice"),
        content_type(
            "empty content type",
            b"",
            inner("empty content type", "odd"),
        ),
        content_type("bare", b"application/json", inner("bare", "odd")),
        Oddity {
            properties: Vec::new(),
            ..body("no properties", command("no properties", "odd"))
        },
    ]
}

/// Bodies that are no JSON, no envelope, or no command.
pub(crate) fn bodies_that_are_wrong() -> Vec<Oddity> {
    let kind = r#""messageType":["urn:message:Samples.Invoicing:CreateInvoice"]"#;
    let amount = |amount: &str| command("n", "odd").replace("995", amount);
    vec![
        body("empty", ""),
        body("no JSON", "invoice, please"),
        body("no text", vec![0xff; 64]),
        body("half", &command("half", "odd").as_bytes()[..80]),
        body("a list", "[]"),
        body("a number", "42"),
        body("null", "null"),
        body("an empty envelope", "{}"),
        body("no type", r#"{"message":{}}"#),
        body("type is a text", r#"{"messageType":"urn","message":{}}"#),
        body("types are numbers", r#"{"messageType":[1],"message":{}}"#),
        body(
            "unknown type",
            r#"{"messageType":["urn:message:A:B"],"message":{}}"#,
        ),
        body("no message", format!("{{{kind}}}")),
        body("message is null", format!(r#"{{{kind},"message":null}}"#)),
        body("message is a list", format!(r#"{{{kind},"message":[1]}}"#)),
        body(
            "headers are a text",
            format!(r#"{{{kind},"headers":"x","message":{{}}}}"#),
        ),
        body("deep", "[".repeat(100_000)),
        body("huge amount", amount("99999999999999999999999")),
        body("amount beyond numbers", amount("1e999")),
        body("amount below zero", amount("-1")),
        body(
            "keys that come twice",
            command("keys that come twice", "odd").replacen(
                '{',
                r#"{"message":1,"messageType":[],"#,
                1,
            ),
        ),
        body(
            "faults to nowhere",
            format!(r#"{{{kind},"faultAddress":"queue:not-there","message":{{}}}}"#),
        ),
        body(
            "addresses that are none",
            format!(r#"{{{kind},"responseAddress":"::","faultAddress":"%","message":{{}}}}"#),
        ),
        body("1 MiB", command("1 MiB", &"x".repeat(1 << 20))),
        body("1 MiB of nothing", vec![b' '; 1 << 20]),
    ]
}
