//! Codecs: bodies are envelopes or bare JSON.

use bus_core::codec::Codec;
use bus_core::{ConsumeContext, Endpoint, Message, Policy};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::contracts::{Answered, Ask, LAST, Ordered, Place};
use crate::support::fixture::{reason, serial};
use crate::support::{Outcome, Recorder, raw, with};
use crate::test_broker::TestBroker;

/// Bare JSON without any property reaches the only consumer of an endpoint that
/// reads bare JSON.
async fn bare_json_reaches_the_only_consumer(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("bare");
    let seen = Recorder::<Place>::new();
    let endpoint = Endpoint::new(&queue)
        .policy(Policy::new().codec(Codec::RawJson))
        .consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    let wire = broker.wire().await;
    let mut foreign = raw(&queue, r#"{"number":7}"#);
    foreign.message_id = Some("not a uuid".to_owned());
    foreign.headers.insert("Tenant", "north");
    wire.send(foreign).await;
    let call = seen.next().await;
    assert_eq!(call.message().number, 7);
    assert_eq!(call.message_id(), None);
    assert_eq!(call.headers().text("Tenant"), Some("north"));
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// Bare JSON without a type on an endpoint with several consumers is an error that
/// says what to do.
async fn bare_json_for_several_consumers_needs_a_type(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("bare");
    let (placed, ordered) = (Recorder::<Place>::new(), Recorder::<Ordered>::new());
    let endpoint = Endpoint::new(&queue)
        .policy(Policy::new().codec(Codec::RawJson))
        .consumer(placed.clone())
        .consumer(ordered.clone());
    let bus = broker.start(endpoint).await?;
    let wire = broker.wire().await;
    let errors = wire.read(&format!("{queue}_error")).await;
    wire.send(raw(&queue, r#"{"number":7}"#)).await;
    let failed = errors.next().await;
    assert_eq!(failed.body, r#"{"number":7}"#);
    let reason = reason(&failed);
    assert!(reason.contains("MT-MessageType"), "{reason}");
    let mut typed = raw(&queue, r#"{"number":8}"#);
    typed
        .headers
        .insert("MT-MessageType", Ordered::message_type().urn());
    wire.send(typed).await;
    assert_eq!(ordered.next().await.message().number, 8);
    bus.shutdown().await?;
    assert_eq!(placed.calls(), 0);
    wire.close().await;
    Ok(())
}

/// A message sent as bare JSON is just that on the wire; ids and headers travel
/// beside it.
async fn bare_json_carries_its_metadata_in_headers(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("bare");
    let bus = broker.bus().start().await?;
    let wire = broker.wire().await;
    let reader = wire.read(&queue).await;
    let id = Uuid::now_v7();
    bus.send_to(format!("queue:{queue}"), &Place { number: 7 })
        .codec(Codec::RawJson)
        .message_id(id)
        .header("Tenant", "north")
        .await?;
    let sent = reader.next().await;
    assert_eq!(sent.body, r#"{"number":7}"#);
    assert_eq!(sent.content_type.as_deref(), Some("application/json"));
    assert_eq!(sent.message_id, Some(id.to_string()));
    assert_eq!(sent.headers.text("Tenant"), Some("north"));
    assert_eq!(
        sent.headers.text("MT-MessageType"),
        Some("urn:message:Conformance:Place")
    );
    for name in [
        "MessageId",
        "ConversationId",
        "MT-Source-Address",
        "MT-Host-Info",
        "traceparent",
    ] {
        assert!(sent.headers.contains(name), "{name}");
    }
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// An endpoint reads a message by its content type, not by the endpoint's own
/// codec.
async fn the_content_type_says_how_a_message_is_read(broker: &dyn TestBroker) -> Outcome {
    for (name, codec) in [("envelopes", Codec::MassTransit), ("bare", Codec::RawJson)] {
        let queue = broker.name(name);
        let seen = Recorder::<Place>::new();
        let endpoint = serial(&queue)
            .policy(Policy::new().codec(codec))
            .consumer(seen.clone());
        let bus = broker.start(endpoint).await?;
        for (number, codec) in [(1, Codec::MassTransit), (2, Codec::RawJson)] {
            bus.send_to(format!("queue:{queue}"), &Place { number })
                .codec(codec)
                .await?;
        }
        for (number, content_type) in [
            (1, "application/vnd.masstransit+json"),
            (2, "application/json"),
        ] {
            let call = seen.next().await;
            assert_eq!(call.message().number, number);
            assert_eq!(call.incoming().content_type.as_deref(), Some(content_type));
            assert!(call.conversation_id().is_some());
        }
        bus.shutdown().await?;
    }
    Ok(())
}

/// A message of an unknown content type goes to the error queue, with its name.
async fn an_unknown_content_type_is_set_aside(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("picky");
    let seen = Recorder::<Place>::new();
    let bus = broker.start(serial(&queue).consumer(seen.clone())).await?;
    let wire = broker.wire().await;
    let errors = wire.read(&format!("{queue}_error")).await;
    let body = json!({ "messageType": [Place::message_type().urn()], "message": { "number": 1 } })
        .to_string();
    for content_type in ["application/xml", "application/vnd.masstransit+bson"] {
        let mut foreign = raw(&queue, body.clone());
        foreign.content_type = Some(content_type.into());
        wire.send(foreign).await;
        let failed = errors.next().await;
        assert_eq!(failed.body, body);
        assert_eq!(failed.content_type.as_deref(), Some(content_type));
        let reason = reason(&failed);
        assert!(reason.contains(content_type), "{reason}");
    }
    let mut fine = raw(
        &queue,
        json!({ "messageType": [Place::message_type().urn()], "message": { "number": LAST } })
            .to_string(),
    );
    fine.content_type = Some("Application/VND.MassTransit+JSON; charset=utf-8".into());
    wire.send(fine).await;
    assert_eq!(seen.until_last().await.len(), 0);
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// A consumer of bare JSON sends bare JSON, unless the bus or the message says
/// otherwise.
async fn a_consumer_writes_as_its_endpoint_does(broker: &dyn TestBroker) -> Outcome {
    let (relay, end) = (broker.name("relay"), broker.name("end"));
    let endpoint = Endpoint::new(&relay)
        .policy(Policy::new().codec(Codec::RawJson))
        .consumer(with(
            end.clone(),
            |end, ctx: ConsumeContext<Place>| async move {
                let number = ctx.message().number;
                ctx.send_to(format!("queue:{end}"), &Place { number })
                    .await?;
                ctx.send_to(format!("queue:{end}"), &Place { number })
                    .codec(Codec::MassTransit)
                    .await?;
                Ok(())
            },
        ));
    let bus = broker.start(endpoint).await?;
    let wire = broker.wire().await;
    let reader = wire.read(&end).await;
    wire.send(raw(&relay, r#"{"number":7}"#)).await;
    assert_eq!(reader.next().await.body, r#"{"number":7}"#);
    let envelope: Value = serde_json::from_slice(&reader.next().await.body)?;
    assert_eq!(envelope["message"]["number"], 7);
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// A request in bare JSON is answered, and so is one in an envelope to a responder
/// of bare JSON.
async fn requests_work_across_codecs(broker: &dyn TestBroker) -> Outcome {
    for (name, codec) in [("envelopes", Codec::MassTransit), ("bare", Codec::RawJson)] {
        let queue = broker.name(name);
        let endpoint = Endpoint::new(&queue)
            .without_subscriptions()
            .policy(Policy::new().codec(codec))
            .consumer(with((), |(), ctx: ConsumeContext<Ask>| async move {
                Ok(ctx
                    .respond(&Answered {
                        number: ctx.message().number,
                    })
                    .await?)
            }));
        let bus = broker.start(endpoint).await?;
        for (number, codec) in [(1, Codec::MassTransit), (2, Codec::RawJson)] {
            let request = bus
                .request::<Answered>(&Ask { number })
                .to(format!("queue:{queue}"));
            assert_eq!(request.codec(codec).await?.number, number);
        }
        bus.shutdown().await?;
    }
    Ok(())
}

/// A bus may write bare JSON throughout.
async fn a_bus_may_write_bare_json(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let endpoint = Endpoint::new(broker.name("reader")).consumer(seen.clone());
    let bus = broker
        .bus()
        .policy(Policy::new().codec(Codec::RawJson))
        .endpoint(endpoint)
        .start()
        .await?;
    bus.publish(&Ordered { number: 3 }).await?;
    let call = seen.next().await;
    assert_eq!(call.incoming().body, r#"{"number":3}"#);
    assert_eq!(call.message().number, 3);
    bus.shutdown().await?;
    Ok(())
}

behaviours! { codecs:
    bare_json_reaches_the_only_consumer,
    bare_json_for_several_consumers_needs_a_type,
    bare_json_carries_its_metadata_in_headers,
    the_content_type_says_how_a_message_is_read,
    an_unknown_content_type_is_set_aside,
    a_consumer_writes_as_its_endpoint_does,
    requests_work_across_codecs,
    a_bus_may_write_bare_json,
}
