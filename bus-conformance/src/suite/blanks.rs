//! Senders whose texts are never null: their blank ids and addresses, and ids of
//! zeros, count as absent.

use bus_core::idempotency::MemoryIdempotencyStore;
use bus_core::transport::Outgoing;
use bus_core::{ConsumeContext, Endpoint, Fault, Idempotency};
use serde_json::json;

use crate::support::contracts::{Answered, Ask, LAST, Place};
use crate::support::fixture::{Fixture, serial};
use crate::support::{Outcome, Recorder, envelope, raw, with};
use crate::test_broker::TestBroker;

const ID_MEMBERS: [&str; 5] = [
    "messageId",
    "requestId",
    "correlationId",
    "conversationId",
    "initiatorId",
];

const ADDRESS_MEMBERS: [&str; 4] = [
    "sourceAddress",
    "destinationAddress",
    "responseAddress",
    "faultAddress",
];

const ID_HEADERS: [&str; 5] = [
    "MessageId",
    "RequestId",
    "CorrelationId",
    "ConversationId",
    "MT-InitiatorId",
];

const ADDRESS_HEADERS: [&str; 3] = [
    "MT-Source-Address",
    "MT-Response-Address",
    "MT-Fault-Address",
];

/// Ids and addresses that name nothing.
const BLANKS: [(&str, &str); 4] = [("", ""), (" ", " "), ("\t\r\n", "\t\r\n"), (ZEROS, "")];

const ZEROS: &str = "00000000-0000-0000-0000-000000000000";

/// The message in an envelope with a blank for every id and address, also beside
/// it.
fn enveloped<M: bus_core::Message>(
    queue: &str,
    number: u32,
    (id, address): (&str, &str),
) -> Outgoing {
    let mut body = json!({
        "messageType": [M::message_type().urn()],
        "message": { "number": number },
    });
    for member in ID_MEMBERS {
        body[member] = id.into();
    }
    for member in ADDRESS_MEMBERS {
        body[member] = address.into();
    }
    Outgoing {
        body: body.to_string().into(),
        message_id: Some(id.to_owned()),
        correlation_id: Some(id.to_owned()),
        ..envelope::<M>(queue, &json!(null))
    }
}

/// The same as bare JSON.
fn bare<M: bus_core::Message>(queue: &str, number: u32, (id, address): (&str, &str)) -> Outgoing {
    let mut bare = raw(queue, json!({ "number": number }).to_string());
    bare.content_type = Some("application/json".into());
    bare.message_id = Some(id.to_owned());
    bare.correlation_id = Some(id.to_owned());
    bare.headers.extend(ID_HEADERS.map(|name| (name, id)));
    bare.headers
        .extend(ADDRESS_HEADERS.map(|name| (name, address)));
    bare.headers
        .insert("MT-MessageType", M::message_type().urn());
    bare
}

/// Blank ids and addresses are read as if they were not there.
async fn blank_ids_and_addresses_are_absent(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("tolerant");
    let seen = Recorder::<Place>::new();
    let endpoint = serial(&queue)
        .without_subscriptions()
        .consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    let wire = broker.wire().await;
    for blank in BLANKS {
        wire.send(enveloped::<Place>(&queue, 1, blank)).await;
        wire.send(bare::<Place>(&queue, 1, blank)).await;
        for call in seen.take(2).await {
            let envelope = call.envelope();
            let ids = [
                envelope.message_id,
                envelope.request_id,
                envelope.correlation_id,
                envelope.conversation_id,
                envelope.initiator_id,
            ];
            assert_eq!(ids, [None; 5], "{blank:?}");
            let addresses = [
                &envelope.source_address,
                &envelope.destination_address,
                &envelope.response_address,
                &envelope.fault_address,
            ];
            assert_eq!(addresses, [&None; 4], "{blank:?}");
        }
    }
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// A fault whose address is blank is published.
async fn the_fault_of_a_message_with_blank_addresses_is_published(
    broker: &dyn TestBroker,
) -> Outcome {
    let failing = Fixture::<Place>::failing(broker).await?;
    let faults = Recorder::<Fault<Place>>::new();
    let listener = serial(broker.name("faults")).consumer(faults.clone());
    let listening = broker.start(listener).await?;
    for blank in BLANKS {
        for sent in [
            enveloped::<Place>(&failing.queue, 1, blank),
            bare::<Place>(&failing.queue, 1, blank),
        ] {
            let body = sent.body.clone();
            failing.wire.send(sent).await;
            let fault = faults.next().await;
            assert_eq!(fault.message().message, Some(Place { number: 1 }));
            assert_eq!(fault.message().faulted_message_id, None);
            assert_eq!(failing.errors.next().await.body, body);
        }
    }
    listening.shutdown().await?;
    failing.stop().await
}

/// An answer without an address is published, whether the address is absent or
/// blank.
async fn an_answer_to_a_blank_address_is_published(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("responder");
    let told = Recorder::<Answered>::new();
    let answering = with((), |(), ctx: ConsumeContext<Ask>| async move {
        let number = ctx.message().number;
        Ok(ctx.respond(&Answered { number }).await?)
    });
    let bus = broker
        .bus()
        .endpoint(Endpoint::new(&queue).consumer(answering))
        .endpoint(Endpoint::new(broker.name("answered")).consumer(told.clone()))
        .start()
        .await?;
    let wire = broker.wire().await;
    for blank in BLANKS {
        wire.send(enveloped::<Ask>(&queue, 7, blank)).await;
        assert_eq!(told.next().await.message().number, 7);
    }
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// Messages with blank ids and keys are not taken for duplicates of each other.
async fn messages_with_blank_ids_are_no_duplicates(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("once");
    let seen = Recorder::<Place>::new();
    let endpoint = serial(&queue)
        .without_subscriptions()
        .idempotency(Idempotency::new(MemoryIdempotencyStore::new()))
        .consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    let wire = broker.wire().await;
    let twice = || (1_u32..).zip(BLANKS.iter().chain(&BLANKS));
    for (number, &blank) in twice() {
        let mut sent = enveloped::<Place>(&queue, number, blank);
        sent.headers.insert("Idempotency-Key", " ");
        wire.send(sent).await;
    }
    wire.send(enveloped::<Place>(&queue, LAST, BLANKS[0])).await;
    let handled: Vec<_> = seen
        .until_last()
        .await
        .iter()
        .map(|call| call.message().number)
        .collect();
    let sent: Vec<_> = twice().map(|(number, _)| number).collect();
    assert_eq!(handled, sent);
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

behaviours! { blanks:
    blank_ids_and_addresses_are_absent,
    the_fault_of_a_message_with_blank_addresses_is_published,
    an_answer_to_a_blank_address_is_published,
    messages_with_blank_ids_are_no_duplicates,
}
