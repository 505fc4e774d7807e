//! What travels on through a chain of services of both kinds.

use bus_core::message::{Envelope, TraceContext};
use bus_core::{ConsumeContext, ConsumeResult, Endpoint};
use bus_tests::acme::{OrderShipped, OrderSubmitted, SubmitOrder};
use bus_tests::peer::{Command, Consumed, Peer};
use bus_tests::{Recorder, with};
use serde_json::json;
use uuid::Uuid;

use crate::support::{Host, Sent, assert_alike, order, shipped};

fn trace(consumed: &Consumed) -> TraceContext {
    let text = consumed.headers["MT-Activity-Id"].as_str().expect("text");
    TraceContext::parse(text).expect("a trace context")
}

fn trace_of(envelope: &Envelope) -> TraceContext {
    TraceContext::from_headers(&envelope.headers).expect("a trace context")
}

type Seen = Recorder<OrderSubmitted>;

/// Ships what was submitted.
async fn ship(seen: Seen, ctx: ConsumeContext<OrderSubmitted>) -> ConsumeResult {
    seen.note(&ctx);
    ctx.publish(&OrderShipped {
        correlation_id: Uuid::new_v4(),
        order_number: ctx.message().order_number.clone(),
        carrier: "bike".to_owned(),
    })
    .await?;
    Ok(())
}

/// Submits again what came back, so that .NET sends it to `rs-last`.
async fn submit(seen: Recorder<OrderShipped>, ctx: ConsumeContext<OrderShipped>) -> ConsumeResult {
    seen.note(&ctx);
    let again = order("send:exchange:rs-last");
    ctx.send_to("queue:mt-orders", &again)
        .correlation_id(again.order_id)
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_that_rust_begins_keeps_conversation_causes_headers_and_trace() {
    let host = Host::new().await;
    let endpoints = ["mt-orders", "mt-shipped"];
    let peer = Peer::start_with(&host.url, &endpoints, &["--trace"]).await;
    let (seen, sent) = (Seen::new(), Sent::default());
    let endpoint = Endpoint::new("rs-submitted").consumer(with(seen.clone(), ship));
    let service = host.serve(endpoint).await;
    let bus = host.builder().observe(sent.clone()).start().await.unwrap();
    let (command, cause) = (order("publish-1"), Uuid::new_v4());
    bus.publish(&command)
        .correlation_id(cause)
        .header("Tenant", "north")
        .header("MT-Own", "not for others")
        .await
        .unwrap();

    let first = peer.consumed("mt-orders").await;
    let ours = sent.only();
    assert_alike(&ours, &first);
    assert_eq!(first.correlation_id, Some(cause));
    assert_eq!(first.initiator_id, None);

    let second = seen.next().await;
    let envelope = second.envelope();
    assert_eq!(envelope.conversation_id, first.conversation_id);
    assert_eq!(envelope.initiator_id, Some(cause));
    assert_eq!(envelope.correlation_id, Some(command.order_id));
    assert_eq!(envelope.source_address, Some(host.address("mt-orders")));
    assert_eq!(envelope.headers.text("Tenant"), Some("north"));
    assert!(!envelope.headers.contains("MT-Own"));

    let third = peer.consumed("mt-shipped").await;
    assert_eq!(third.conversation_id, first.conversation_id);
    assert_eq!(third.initiator_id, Some(command.order_id));
    let shipped: OrderShipped = third.message();
    assert_eq!(third.correlation_id, Some(shipped.correlation_id));
    assert_eq!(third.source_address, Some(host.address("rs-submitted")));
    assert_eq!(third.headers["Tenant"], "north");
    assert!(!third.headers.contains_key("MT-Own"));

    let traces = [trace_of(&ours), trace_of(envelope), trace(&third)];
    assert!(
        traces
            .iter()
            .all(|step| step.trace_id == traces[0].trace_id)
    );
    // Only `MT-Activity-Id` is .NET's own: the other header it hands on as a user's.
    let stale = ours.headers.text("traceparent");
    assert_eq!(envelope.headers.text("traceparent"), stale);
    assert_ne!(traces[0].span_id, traces[1].span_id);
    assert_ne!(traces[1].span_id, traces[2].span_id);
    service.shutdown().await.unwrap();
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_that_dotnet_begins_keeps_conversation_causes_headers_and_trace() {
    let host = Host::new().await;
    let endpoints = ["mt-orders", "mt-shipped"];
    let peer = Peer::start_with(&host.url, &endpoints, &["--trace"]).await;
    let (seen, last) = (Recorder::new(), Recorder::<OrderShipped>::new());
    let bus = host
        .builder()
        .endpoint(Endpoint::new("rs-shipped").consumer(with(seen.clone(), submit)))
        .endpoint(
            Endpoint::new("rs-last")
                .without_subscriptions()
                .consumer(last.clone()),
        )
        .start()
        .await
        .unwrap();
    let event = shipped("A-1");
    let headers = json!({ "Tenant": "north", "MT-Own": "not for others" });
    peer.does(Command::publish("OrderShipped", &event).with("headers", headers))
        .await;

    let first = seen.next().await;
    let origin = first.envelope();
    assert_alike(origin, &peer.consumed("mt-shipped").await);
    assert_eq!(origin.correlation_id, Some(event.correlation_id));

    let second = peer.consumed("mt-orders").await;
    let submitted: SubmitOrder = second.message();
    assert_eq!(second.conversation_id, origin.conversation_id);
    assert_eq!(second.initiator_id, Some(event.correlation_id));
    assert_eq!(second.correlation_id, Some(submitted.order_id));
    assert_eq!(second.source_address, Some(host.address("rs-shipped")));
    assert_eq!(second.headers["Tenant"], "north");
    assert!(!second.headers.contains_key("MT-Own"));

    let third = last.next().await;
    let envelope = third.envelope();
    assert_eq!(envelope.conversation_id, origin.conversation_id);
    assert_eq!(envelope.initiator_id, Some(submitted.order_id));
    assert_eq!(envelope.correlation_id, Some(submitted.order_id));
    assert_eq!(envelope.source_address, Some(host.address("mt-orders")));
    assert_eq!(envelope.destination_address, Some(host.address("rs-last")));
    assert_eq!(envelope.headers.text("Tenant"), Some("north"));
    assert!(!envelope.headers.contains("MT-Own"));

    let traces = [trace_of(origin), trace(&second), trace_of(envelope)];
    assert!(
        traces
            .iter()
            .all(|step| step.trace_id == traces[0].trace_id)
    );
    assert_ne!(traces[0].span_id, traces[1].span_id);
    assert_ne!(traces[1].span_id, traces[2].span_id);
    assert_eq!(third.trace().trace_id, traces[0].trace_id);
    bus.shutdown().await.unwrap();
}
