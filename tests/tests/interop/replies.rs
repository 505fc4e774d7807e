//! .NET asks, Rust answers.

use bus_core::codec::Codec;
use bus_core::message::HeaderValue;
use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Policy};
use bus_tests::acme::{CheckStock, SkuUnknown};
use bus_tests::peer::{Answer, Command, Peer, Replied};
use bus_tests::{Gate, Recorder, within};
use futures_util::future::join_all;
use serde_json::json;

use crate::stock::{MANY, check, levels};
use crate::support::Host;

async fn answer(ctx: ConsumeContext<CheckStock>) -> ConsumeResult {
    let sku = ctx.message().sku.clone();
    if sku.starts_with("unknown") {
        ctx.respond(&SkuUnknown { sku }).await?;
    } else {
        ctx.respond(&levels(&sku)).await?;
    }
    Ok(())
}

async fn reply(peer: &Peer, command: Command) -> Replied {
    match peer.run(command).await {
        Ok(Answer::Reply(reply)) => *reply,
        other => panic!("no reply but {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_answers_a_query_of_dotnet() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-stock"]).await;
    peer.stop().await;
    let peer = host.peer(&[]).await;
    let seen = Recorder::<CheckStock>::new();
    let noted = seen.clone();
    let consumer = move |ctx: ConsumeContext<CheckStock>| {
        noted.note(&ctx);
        answer(ctx)
    };
    // MassTransit's own endpoint stood here before: the queue is taken over as it is.
    let bus = host
        .serve(Endpoint::new("mt-stock").consumer(consumer))
        .await;
    let command =
        Command::request("CheckStock", &check("A-7")).with("headers", json!({ "Tenant": "north" }));
    let replied = reply(&peer, command).await;
    assert_eq!(replied.urn, "urn:message:Acme.Orders:StockLevels");
    assert_eq!(
        replied.message,
        serde_json::to_value(levels("A-7")).unwrap()
    );

    let ctx = seen.next().await;
    let query = ctx.envelope();
    assert!(query.request_id.is_some() && query.expiration_time.is_some());
    assert_eq!(query.correlation_id, None);
    assert_eq!(query.source_address, Some(peer.address().await));
    assert_eq!(query.response_address, query.source_address);
    assert_eq!(
        query.destination_address,
        Some(host.address("Acme.Orders:CheckStock"))
    );
    assert_eq!(query.headers.text("Tenant"), Some("north"));
    let accepted = ["StockLevels", "SkuUnknown"]
        .map(|name| HeaderValue::from(format!("urn:message:Acme.Orders:{name}")));
    assert_eq!(
        query.headers.get("MT-Request-AcceptType"),
        Some(&HeaderValue::List(accepted.into()))
    );
    assert_eq!(replied.request_id, query.request_id);
    assert_eq!(replied.conversation_id, query.conversation_id);
    assert_eq!(replied.initiator_id, query.request_id);
    assert_eq!(replied.source_address, Some(host.address("mt-stock")));
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_answers_dotnet_with_a_second_type_also_over_a_queue() {
    let host = Host::new().await;
    let peer = host.peer(&[]).await;
    let bus = host.serve(Endpoint::new("rs-stock").consumer(answer)).await;
    let replied = reply(&peer, Command::request("CheckStock", &check("unknown-2"))).await;
    assert_eq!(replied.urn, "urn:message:Acme.Orders:SkuUnknown");
    assert_eq!(replied.message, json!({ "sku": "unknown-2" }));
    let command = Command::request("CheckStock", &check("A-7")).with("to", "queue:rs-stock");
    let replied = reply(&peer, command).await;
    assert_eq!(
        replied.message,
        serde_json::to_value(levels("A-7")).unwrap()
    );
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dotnet_stops_waiting_for_rust_in_time_and_passes_over_the_late_answer() {
    let host = Host::new().await;
    let peer = host.peer(&[]).await;
    let gate = Gate::closed();
    let pass = gate.clone();
    let consumer = move |ctx: ConsumeContext<CheckStock>| {
        let pass = pass.clone();
        async move {
            pass.pass().await;
            answer(ctx).await
        }
    };
    let bus = host
        .serve(Endpoint::new("rs-stock").concurrency(1).consumer(consumer))
        .await;
    let slow = Command::request("CheckStock", &check("A-1")).with("timeoutMs", 2500);
    let (outcome, ()) = tokio::join!(peer.run(slow), gate.holds(1));
    assert!(matches!(outcome, Ok(Answer::Timeout)), "{outcome:?}");
    let next = Command::request("CheckStock", &check("A-22"));
    let (replied, ()) = tokio::join!(reply(&peer, next), async { gate.open() });
    assert_eq!(
        replied.message,
        serde_json::to_value(levels("A-22")).unwrap()
    );
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_answers_a_thousand_queries_of_dotnet_at_once() {
    let host = Host::new().await;
    let peer = host.peer(&[]).await;
    let bus = host.serve(Endpoint::new("rs-stock").consumer(answer)).await;
    let skus: Vec<_> = (0..MANY).map(|number| format!("A-{number}")).collect();
    let requests = skus
        .iter()
        .map(|sku| reply(&peer, Command::request("CheckStock", &check(sku))));
    let replies = within("all replies", join_all(requests)).await;
    for (sku, replied) in skus.iter().zip(replies) {
        assert_eq!(replied.message, serde_json::to_value(levels(sku)).unwrap());
    }
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_answers_a_query_of_dotnet_in_bare_json() {
    let host = Host::new().await;
    let peer = Peer::start_with(&host.url, &[], &["--raw"]).await;
    let seen = Recorder::<CheckStock>::new();
    let noted = seen.clone();
    let consumer = move |ctx: ConsumeContext<CheckStock>| {
        noted.note(&ctx);
        answer(ctx)
    };
    let endpoint = Endpoint::new("rs-stock").policy(Policy::new().codec(Codec::RawJson));
    let bus = host.serve(endpoint.consumer(consumer)).await;
    let replied = reply(&peer, Command::request("CheckStock", &check("A-7"))).await;
    assert_eq!(
        replied.message,
        serde_json::to_value(levels("A-7")).unwrap()
    );
    let query = seen.next().await;
    assert_eq!(
        query.incoming().content_type.as_deref(),
        Some("application/json")
    );
    assert_eq!(replied.request_id, query.envelope().request_id);
    assert_eq!(replied.conversation_id, query.conversation_id());
    assert_eq!(replied.initiator_id, query.envelope().request_id);
    bus.shutdown().await.unwrap();
}
