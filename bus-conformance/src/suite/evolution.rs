//! Contracts that change: what an older or newer program still understands.

use bus_core::Message;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::fixture::Fixture;
use crate::support::{Outcome, envelope, raw};
use crate::test_broker::TestBroker;

/// Gives an endpoint of `M` one message part; returns what its consumer saw.
async fn consumed<M: Message + Clone>(broker: &dyn TestBroker, message: &Value) -> Outcome<M> {
    let reader = Fixture::<M>::reading(broker).await?;
    reader
        .wire
        .send(envelope::<M>(&reader.queue, message))
        .await;
    let read = reader.seen.next().await.message().clone();
    reader.stop().await?;
    Ok(read)
}

/// Gives an endpoint of `M` one message part that it must refuse.
///
/// Returns the reason in the error queue.
async fn refused<M: Message>(broker: &dyn TestBroker, message: &Value) -> Outcome<String> {
    let reader = Fixture::<M>::reading(broker).await?;
    let sent = envelope::<M>(&reader.queue, message);
    let body = sent.body.clone();
    reader.wire.send(sent).await;
    let failed = reader.errors.next().await;
    assert_eq!(failed.body, body);
    assert_eq!(reader.seen.calls(), 0, "the consumer must not run");
    reader.stop().await?;
    let reason = failed.headers.text("MT-Fault-Message");
    Ok(reason.unwrap_or_default().to_owned())
}

/// Sends a message that must arrive unchanged.
async fn arrives<M: Message + PartialEq>(broker: &dyn TestBroker, sent: &M) -> Outcome {
    let reader = Fixture::<M>::reading(broker).await?;
    reader.send(sent).await?;
    assert!(reader.seen.next().await.message() == sent, "it has changed");
    reader.stop().await
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
#[serde(rename_all = "camelCase")]
#[message("Conformance.Evolution:Invoice")]
struct Invoice {
    order_number: u32,
    #[serde(default)]
    note: Option<String>,
    #[serde(default)]
    lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
enum Line {
    Goods { sku: String },
    Discount { percent: u8 },
}

/// Members that the contract does not know are passed over.
async fn unknown_members_are_ignored(broker: &dyn TestBroker) -> Outcome {
    let message =
        json!({ "orderNumber": 1, "color": "red", "deep": { "list": [1, { "a": null }] } });
    let invoice: Invoice = consumed(broker, &message).await?;
    assert_eq!(invoice.order_number, 1);
    Ok(())
}

/// Optional members that the sender did not know are absent.
async fn missing_optional_members_are_absent(broker: &dyn TestBroker) -> Outcome {
    let invoice: Invoice = consumed(broker, &json!({ "orderNumber": 2 })).await?;
    assert_eq!(
        invoice,
        Invoice {
            order_number: 2,
            note: None,
            lines: Vec::new()
        }
    );
    Ok(())
}

/// A message without a required member is not guessed at; the error names the
/// member.
async fn a_missing_required_member_is_an_error(broker: &dyn TestBroker) -> Outcome {
    let reason = refused::<Invoice>(broker, &json!({ "note": "no number" })).await?;
    assert!(
        reason.contains("orderNumber") && reason.contains("Conformance.Evolution:Invoice"),
        "{reason}"
    );
    Ok(())
}

/// A value of the wrong kind is an error that says what was wanted.
async fn a_value_of_the_wrong_kind_is_an_error(broker: &dyn TestBroker) -> Outcome {
    let reason = refused::<Invoice>(broker, &json!({ "orderNumber": false })).await?;
    assert!(
        reason.contains("boolean") && reason.contains("u32"),
        "{reason}"
    );
    Ok(())
}

/// A variant that only newer senders know is an error that names it, not a crash.
async fn an_unknown_variant_is_an_error(broker: &dyn TestBroker) -> Outcome {
    let message = json!({ "orderNumber": 1, "lines": [{ "kind": "voucher", "code": "X" }] });
    let reason = refused::<Invoice>(broker, &message).await?;
    assert!(reason.contains("voucher"), "{reason}");
    Ok(())
}

/// Variants in a list arrive as what they were.
async fn variants_arrive_as_what_they_were(broker: &dyn TestBroker) -> Outcome {
    let sent = Invoice {
        order_number: 3,
        note: Some("ünïcödé \u{1F69A}\u{0}\"\\".to_owned()),
        lines: vec![
            Line::Goods {
                sku: "A-7".to_owned(),
            },
            Line::Discount { percent: 5 },
        ],
    };
    arrives(broker, &sent).await
}

/// Numbers at the ends of their ranges, exact fractions and ids arrive unchanged.
async fn extreme_values_arrive_unchanged(broker: &dyn TestBroker) -> Outcome {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
    #[message("Conformance.Evolution:Extremes")]
    struct Extremes {
        signed: Vec<i64>,
        unsigned: u64,
        fractions: Vec<f64>,
        id: Uuid,
        letter: char,
        nothing: (),
        bytes: Vec<u8>,
    }
    let sent = Extremes {
        signed: vec![i64::MIN, i64::MAX, (1 << 53) + 1],
        unsigned: u64::MAX,
        fractions: vec![0.1 + 0.2, f64::MIN_POSITIVE, f64::MAX, -0.0],
        id: Uuid::max(),
        letter: '\u{10FFFF}',
        nothing: (),
        bytes: (0..=255).collect(),
    };
    arrives(broker, &sent).await
}

/// Of several types in an envelope the first one that has a consumer counts,
/// wherever it stands.
async fn a_known_type_among_unknown_ones_is_found(broker: &dyn TestBroker) -> Outcome {
    let reader = Fixture::<Invoice>::reading(broker).await?;
    let types = [
        "urn:message:Elsewhere:Bill",
        "urn:message:conformance.evolution:INVOICE",
    ];
    let body = json!({ "messageType": types, "message": { "orderNumber": 9 } });
    reader.wire.send(raw(&reader.queue, body.to_string())).await;
    assert_eq!(reader.seen.next().await.message().order_number, 9);
    reader.stop().await
}

/// Ids in any case, times with or without an offset, and unknown members are
/// accepted.
async fn foreign_spellings_of_the_envelope_are_accepted(broker: &dyn TestBroker) -> Outcome {
    let reader = Fixture::<Invoice>::reading(broker).await?;
    let id = Uuid::now_v7();
    for (time, members) in [
        ("2026-01-02T03:04:05.1234567Z", ("messageId", "messageType")),
        (
            "2026-01-02T04:04:05.1234567+01:00",
            ("MessageId", "MESSAGETYPE"),
        ),
    ] {
        let body = json!({
            members.0: id.to_string().to_uppercase(),
            members.1: [Invoice::message_type().urn()],
            "message": { "orderNumber": 1 },
            "sentTime": time,
            "expirationTime": null,
            "somethingNew": { "a": [1, 2] },
            "host": { "machineName": "vm-1" },
        });
        reader.wire.send(raw(&reader.queue, body.to_string())).await;
        let call = reader.seen.next().await;
        assert_eq!(call.message_id(), Some(id));
        let sent = call.envelope().sent_time.expect("a sent time");
        let since = sent.duration_since(std::time::UNIX_EPOCH)?;
        assert_eq!(
            (since.as_secs(), since.subsec_micros()),
            (1_767_323_045, 123_456)
        );
    }
    reader.stop().await
}

behaviours! { evolution:
    unknown_members_are_ignored,
    missing_optional_members_are_absent,
    a_missing_required_member_is_an_error,
    a_value_of_the_wrong_kind_is_an_error,
    an_unknown_variant_is_an_error,
    variants_arrive_as_what_they_were,
    extreme_values_arrive_unchanged,
    a_known_type_among_unknown_ones_is_found,
    foreign_spellings_of_the_envelope_are_accepted,
}
