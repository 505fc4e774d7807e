//! Propagation of ids, headers and the trace to the messages that one causes.

use bus_core::message::TraceContext;
use bus_core::topology::Queue;
use bus_core::{ConsumeContext, Endpoint};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::contracts::{Answered, Ask, Cancelled, Ordered, Place, Shipped};
use crate::support::fixture::{place, serial};
use crate::support::{Outcome, Recorder, envelope, raw, with};
use crate::test_broker::TestBroker;

fn trace_of<M>(call: &ConsumeContext<M>) -> TraceContext {
    let text = call
        .headers()
        .text("traceparent")
        .expect("a traceparent header");
    assert_eq!(call.headers().text("MT-Activity-Id"), Some(text));
    TraceContext::parse(text).expect("a valid trace context")
}

/// A member that was never set gives no correlation id, as in .NET.
async fn a_correlation_id_of_zeros_is_not_sent(broker: &dyn TestBroker) -> Outcome {
    let shipped = Recorder::<Shipped>::new();
    let endpoint = serial(broker.name("shipped")).consumer(shipped.clone());
    let bus = broker.start(endpoint).await?;
    bus.publish(&Shipped { order: Uuid::nil() }).await?;
    let call = shipped.next().await;
    assert_eq!(call.message().order, Uuid::nil());
    assert_eq!(call.correlation_id(), None);
    assert_eq!(call.incoming().correlation_id, None);
    let body: Value = serde_json::from_slice(&call.incoming().body)?;
    assert_eq!(body["correlationId"], Value::Null);
    let order = Uuid::now_v7();
    bus.publish(&Shipped { order }).await?;
    assert_eq!(shipped.next().await.correlation_id(), Some(order));
    bus.shutdown().await?;
    Ok(())
}

/// Through three hops the conversation is one, and each message names what caused
/// it.
async fn ids_lead_through_a_chain(broker: &dyn TestBroker) -> Outcome {
    let (shipped, ordered) = (Recorder::<Shipped>::new(), Recorder::<Ordered>::new());
    let cancelled = Recorder::<Cancelled>::new();
    let correlation = Uuid::now_v7();
    let first = shipped.then(move |ctx: ConsumeContext<Shipped>| async move {
        let next = ctx.publish(&Ordered { number: 1 });
        Ok(next.correlation_id(correlation).await?)
    });
    let second = ordered.then(|ctx: ConsumeContext<Ordered>| async move {
        Ok(ctx.publish(&Cancelled { number: 1 }).await?)
    });
    let bus = broker
        .bus()
        .endpoint(Endpoint::new(broker.name("first")).consumer(first))
        .endpoint(Endpoint::new(broker.name("second")).consumer(second))
        .endpoint(Endpoint::new(broker.name("third")).consumer(cancelled.clone()))
        .start()
        .await?;
    let order = Uuid::now_v7();
    let event = Shipped { order };
    bus.publish(&event).header("Tenant", "north").await?;
    let (one, two) = (shipped.next().await, ordered.next().await);
    let three = cancelled.next().await;
    let conversation = one.conversation_id();
    assert!(conversation.is_some());
    assert_eq!(two.conversation_id(), conversation);
    assert_eq!(three.conversation_id(), conversation);
    assert_eq!(one.envelope().initiator_id, None);
    assert_eq!(two.envelope().initiator_id, Some(order));
    assert_eq!(three.envelope().initiator_id, Some(correlation));
    // Correlation ids are the contract's own.
    assert_eq!(three.correlation_id(), None);
    let ids = [one.message_id(), two.message_id(), three.message_id()];
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids.iter().all(Option::is_some));
    assert_eq!(three.headers().text("Tenant"), Some("north"));
    bus.shutdown().await?;
    Ok(())
}

/// Headers of the user travel on unless the consumer sets them; those of the
/// framework do not.
async fn user_headers_travel_on(broker: &dyn TestBroker) -> Outcome {
    let (relay, end) = (broker.name("relay"), broker.name("end"));
    let endpoint = Endpoint::new(&relay).consumer(with(
        end.clone(),
        |end, ctx: ConsumeContext<Place>| async move {
            let sending = ctx.send_to(format!("queue:{end}"), &Place { number: 2 });
            Ok(sending.header("Region", "west").await?)
        },
    ));
    let bus = broker.start(endpoint).await?;
    let wire = broker.wire().await;
    let reader = wire.read(&end).await;
    let mut first = envelope::<Place>(&relay, &json!({ "number": 1 }));
    let headers = [
        ("Tenant", "north"),
        ("Region", "east"),
        ("MT-Redelivery-Count", "3"),
        ("mt-reason", "fault"),
        ("x-death", "noise"),
    ];
    first.headers.extend(headers);
    wire.send(first).await;
    let sent = reader.next().await;
    assert_eq!(sent.headers.text("Tenant"), Some("north"));
    assert_eq!(sent.headers.text("Region"), Some("west"));
    for name in ["MT-Redelivery-Count", "MT-Reason", "x-death"] {
        assert!(!sent.headers.contains(name), "{name} must stay behind");
    }
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// A chain of messages and a request with its reply are one trace, each a span of
/// its own.
async fn a_trace_is_continued(broker: &dyn TestBroker) -> Outcome {
    let (ordered, asked, told) = (
        Recorder::<Ordered>::new(),
        Recorder::<Ask>::new(),
        Recorder::<Answered>::new(),
    );
    let relay = ordered.then(|ctx: ConsumeContext<Ordered>| async move {
        let answer: Answered = ctx.request(&Ask { number: 1 }).await?;
        Ok(ctx.publish(&answer).await?)
    });
    let responder = asked.then(|ctx: ConsumeContext<Ask>| async move {
        Ok(ctx.respond(&Answered { number: 2 }).await?)
    });
    let bus = broker
        .bus()
        .endpoint(Endpoint::new(broker.name("relay")).consumer(relay))
        .endpoint(Endpoint::new(broker.name("responder")).consumer(responder))
        .endpoint(Endpoint::new(broker.name("answered")).consumer(told.clone()))
        .start()
        .await?;
    bus.publish(&Ordered { number: 1 }).await?;
    let (ordered, asked, told) = (ordered.next().await, asked.next().await, told.next().await);
    let traces = [trace_of(&ordered), trace_of(&asked), trace_of(&told)];
    assert!(
        traces
            .iter()
            .all(|trace| trace.trace_id == traces[0].trace_id)
    );
    assert!(traces[0].span_id != traces[1].span_id && traces[1].span_id != traces[2].span_id);
    assert_eq!(ordered.trace().trace_id, traces[0].trace_id);
    assert_ne!(
        ordered.trace().span_id,
        traces[0].span_id,
        "consuming is a span of its own"
    );
    bus.shutdown().await?;
    Ok(())
}

/// Messages that nothing caused begin traces and conversations of their own.
async fn unrelated_messages_begin_their_own_traces(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let bus = broker
        .start(Endpoint::new(broker.name("seen")).consumer(seen.clone()))
        .await?;
    for number in [1, 2] {
        bus.publish(&Ordered { number }).await?;
    }
    let calls = seen.take(2).await;
    assert_ne!(trace_of(&calls[0]).trace_id, trace_of(&calls[1]).trace_id);
    assert_ne!(calls[0].conversation_id(), calls[1].conversation_id());
    bus.shutdown().await?;
    Ok(())
}

/// A trace that came with a foreign message is continued; a malformed one is
/// replaced, not an error.
async fn a_malformed_trace_is_replaced(broker: &dyn TestBroker) -> Outcome {
    let (relay, end) = (broker.name("relay"), broker.name("end"));
    let endpoint = serial(&relay).consumer(with(
        end.clone(),
        |end, ctx: ConsumeContext<Place>| async move {
            Ok(ctx
                .send_to(format!("queue:{end}"), &Place { number: 2 })
                .await?)
        },
    ));
    let bus = broker.start(endpoint).await?;
    let wire = broker.wire().await;
    let reader = wire.read(&end).await;
    let given = TraceContext::root();
    for (header, continued) in [
        (given.to_string(), true),
        ("00-nothing-of-that-kind-01".to_owned(), false),
        (String::new(), false),
    ] {
        let mut first = envelope::<Place>(&relay, &json!({ "number": 1 }));
        first.headers.insert("traceparent", header.as_str());
        wire.send(first).await;
        let sent = reader.next().await;
        let trace = TraceContext::from_headers(&sent.headers).expect("a valid trace context");
        assert_eq!(trace.trace_id == given.trace_id, continued, "{header}");
        assert_ne!(trace.span_id, given.span_id);
    }
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// The envelope says who sent it, where to, when, and from which process.
async fn the_envelope_names_its_sender(broker: &dyn TestBroker) -> Outcome {
    let (relay, end) = (broker.name("relay"), broker.name("end"));
    let endpoint = Endpoint::new(&relay).consumer(with(
        end.clone(),
        |end, ctx: ConsumeContext<Place>| async move {
            Ok(ctx
                .send_to(format!("queue:{end}"), &Place { number: 2 })
                .await?)
        },
    ));
    let bus = broker.start(endpoint).await?;
    let wire = broker.wire().await;
    let reader = wire.read(&end).await;
    place(&bus, &relay, 1).await?;
    let sent: Value = serde_json::from_slice(&reader.next().await.body)?;
    let text = |member: &str| sent[member].as_str().unwrap_or_default().to_owned();
    assert!(
        text("sourceAddress").ends_with(&format!("/{relay}")),
        "{sent}"
    );
    assert!(
        text("destinationAddress").ends_with(&format!("/{end}?bind=true")),
        "{sent}"
    );
    assert!(text("sentTime").ends_with('Z'), "{sent}");
    assert_eq!(sent["host"]["processId"], std::process::id());
    assert_eq!(sent["message"], json!({ "number": 2 }));
    assert_eq!(
        sent["messageType"],
        json!(["urn:message:Conformance:Place"])
    );
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// A priority is that of the causing message, unless the consumer sets another.
async fn a_priority_travels_on(broker: &dyn TestBroker) -> Outcome {
    let (relay, end) = (broker.name("relay"), broker.name("end"));
    let endpoint = Endpoint::on(Queue::classic(&relay).max_priority(9)).consumer(with(
        end.clone(),
        |end, ctx: ConsumeContext<Place>| async move {
            ctx.send_to(format!("queue:{end}"), &Place { number: 1 })
                .await?;
            ctx.send_to(format!("queue:{end}"), &Place { number: 2 })
                .priority(1)
                .await?;
            Ok(())
        },
    ));
    let bus = broker.start(endpoint).await?;
    let wire = broker.wire().await;
    let reader = wire.read(&end).await;
    bus.send_to(format!("queue:{relay}"), &Place { number: 0 })
        .priority(7)
        .await?;
    let priorities = [reader.next().await.priority, reader.next().await.priority];
    assert_eq!(priorities, [Some(7), Some(1)]);
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// A redelivered message says so.
async fn a_redelivered_message_says_so(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("again");
    let wire = broker.wire().await;
    wire.declare_queue(&queue).await;
    let body = envelope::<Place>(&queue, &json!({ "number": 1 })).body;
    wire.send(raw(&queue, body)).await;
    wire.give_back(&queue).await;
    let seen = Recorder::<Place>::new();
    let bus = broker.start(serial(&queue).consumer(seen.clone())).await?;
    assert!(seen.next().await.redelivered());
    place(&bus, &queue, 2).await?;
    assert!(!seen.next().await.redelivered());
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

behaviours! { propagation:
    ids_lead_through_a_chain,
    a_correlation_id_of_zeros_is_not_sent,
    user_headers_travel_on,
    a_trace_is_continued,
    unrelated_messages_begin_their_own_traces,
    a_malformed_trace_is_replaced,
    the_envelope_names_its_sender,
    a_priority_travels_on needs Priorities,
    a_redelivered_message_says_so,
}
