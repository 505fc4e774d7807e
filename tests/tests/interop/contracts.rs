//! Generic and nested contracts, and bare JSON.

use bus_core::Endpoint;
use bus_core::codec::Codec;
use bus_core::message::HeaderValue;
use bus_tests::Recorder;
use bus_tests::acme::{Changed, Ping, Price, SubmitOrder};
use bus_tests::peer::Command;
use serde_json::json;
use uuid::Uuid;

use crate::support::{Host, Sent, assert_alike, order};

fn changed() -> Changed<Price> {
    Changed {
        before: None,
        after: Some(Price {
            amount: "9.99".parse().expect("a decimal"),
            currency: "EUR".to_owned(),
        }),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dotnet_consumes_generic_and_nested_contracts_of_rust() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-api"]).await;
    let bus = host.bus().await;
    bus.publish(&changed()).await.unwrap();
    let consumed = peer.consumed("mt-api").await;
    let urn = "urn:message:Acme.Orders:Changed[[Acme.Orders:Price]]";
    assert_eq!(consumed.consumed_as, urn);
    assert_eq!(consumed.message_type, [urn]);
    assert_eq!(consumed.message::<Changed<Price>>(), changed());
    bus.publish(&Ping { number: 7 }).await.unwrap();
    let consumed = peer.consumed("mt-api").await;
    assert_eq!(consumed.consumed_as, "urn:message:Acme.Orders:Api+Ping");
    assert_eq!(consumed.message_type, ["urn:message:Acme.Orders:Api+Ping"]);
    assert_eq!(consumed.message::<Ping>(), Ping { number: 7 });
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_consumes_generic_and_nested_contracts_of_dotnet() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-api"]).await;
    let (generic, nested) = (Recorder::<Changed<Price>>::new(), Recorder::<Ping>::new());
    let endpoint = Endpoint::new("rs-api")
        .consumer(generic.clone())
        .consumer(nested.clone());
    let bus = host.serve(endpoint).await;
    peer.does(Command::publish("Changed<Price>", &changed()))
        .await;
    let ctx = generic.next().await;
    assert_eq!(*ctx.message(), changed());
    assert_alike(ctx.envelope(), &peer.consumed("mt-api").await);
    peer.does(Command::publish("Api.Ping", &Ping { number: 8 }))
        .await;
    let ctx = nested.next().await;
    assert_eq!(*ctx.message(), Ping { number: 8 });
    assert_alike(ctx.envelope(), &peer.consumed("mt-api").await);
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dotnet_consumes_bare_json_of_rust() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-raw"]).await;
    let sent = Sent::default();
    let bus = host.builder().observe(sent.clone()).start().await.unwrap();
    let (command, correlation_id) = (order("A-1"), Uuid::new_v4());
    bus.publish(&command)
        .codec(Codec::RawJson)
        .correlation_id(correlation_id)
        .header("Tenant", "north")
        .await
        .unwrap();
    let consumed = peer.consumed("mt-raw").await;
    assert_eq!(consumed.content_type.as_deref(), Some("application/json"));
    assert_eq!(consumed.message::<SubmitOrder>(), command);
    let ours = sent.only();
    assert!(ours.message_id.is_some() && ours.conversation_id.is_some());
    assert_eq!(consumed.message_id, ours.message_id);
    assert_eq!(consumed.conversation_id, ours.conversation_id);
    assert_eq!(consumed.correlation_id, Some(correlation_id));
    assert_eq!(consumed.source_address, ours.source_address);
    assert_eq!(
        consumed.message_type,
        ["urn:message:Acme.Orders:SubmitOrder"]
    );
    assert_eq!(consumed.headers["Tenant"], "north");
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_consumes_bare_json_of_dotnet() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-raw"]).await;
    let recorder = Recorder::<SubmitOrder>::new();
    let bus = host
        .serve(Endpoint::new("rs-orders").consumer(recorder.clone()))
        .await;
    let (sent, correlation_id) = (order("A-2"), Uuid::new_v4());
    let command = Command::publish("SubmitOrder", &sent)
        .with("serializer", "raw")
        .with("correlationId", correlation_id.to_string())
        .with("headers", json!({ "Tenant": "north" }));
    peer.does(command).await;
    let (ctx, theirs) = (recorder.next().await, peer.consumed("mt-raw").await);
    assert_eq!(
        ctx.incoming().content_type.as_deref(),
        Some("application/json")
    );
    assert_eq!(*ctx.message(), sent);
    let envelope = ctx.envelope();
    assert!(envelope.message_id.is_some() && envelope.conversation_id.is_some());
    assert_eq!(envelope.message_id, theirs.message_id);
    assert_eq!(envelope.conversation_id, theirs.conversation_id);
    assert_eq!(envelope.correlation_id, Some(correlation_id));
    assert_eq!(envelope.source_address, Some(peer.address().await));
    assert_eq!(envelope.message_types.as_ref(), theirs.message_type);
    let headers: Vec<_> = envelope.headers.iter().collect();
    assert_eq!(headers, [("Tenant", &HeaderValue::from("north"))]);
    bus.shutdown().await.unwrap();
}
