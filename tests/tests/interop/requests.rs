//! Questions across the border, and their answers.

use std::time::Duration;

use bus_core::{ConsumeContext, ConsumeResult, Endpoint, HeaderValue, OneOf2, RequestError};
use bus_tests::acme::{CheckStock, SkuUnknown, StockLevels};
use bus_tests::peer::{Answer, Command, Peer, Replied};
use bus_tests::{Gate, Recorder, within};
use futures_util::future::join_all;
use serde_json::json;

use crate::support::{Host, Sent, assert_alike};

type Stock = OneOf2<StockLevels, SkuUnknown>;

const MANY: usize = 1000;

/// 2026-02-07T14:05:09Z, which the peer says too.
const AS_OF: Duration = Duration::from_secs(1_770_473_109);

fn check(sku: impl Into<String>) -> CheckStock {
    CheckStock { sku: sku.into() }
}

fn levels(sku: &str) -> StockLevels {
    StockLevels {
        sku: sku.to_owned(),
        on_hand: i32::try_from(sku.len()).expect("short"),
        as_of: (std::time::UNIX_EPOCH + AS_OF).into(),
    }
}

/// Our side of `mt-stock`.
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
        Ok(Answer::Reply(reply)) => reply,
        other => panic!("no reply but {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dotnet_answers_a_query_of_rust() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-stock"]).await;
    let sent = Sent::default();
    let bus = host.builder().observe(sent.clone()).start().await.unwrap();
    let response = bus
        .request::<Stock>(&check("A-7"))
        .header("Tenant", "north")
        .timeout(Duration::from_secs(15))
        .response()
        .await
        .unwrap();
    assert_eq!(*response.message(), OneOf2::First(levels("A-7")));

    let (query, seen) = (sent.only(), peer.consumed("mt-stock").await);
    assert_alike(&query, &seen);
    assert!(query.request_id.is_some() && query.expiration_time.is_some());
    let accepted = json!([
        "urn:message:Acme.Orders:StockLevels",
        "urn:message:Acme.Orders:SkuUnknown"
    ]);
    assert_eq!(seen.headers["MT-Request-AcceptType"], accepted);
    assert_eq!(
        seen.destination_address,
        Some(host.address("Acme.Orders:CheckStock"))
    );
    assert_eq!(
        seen.response_address, seen.source_address,
        "the bus's own queue"
    );

    let document = response.envelope();
    assert_eq!(document.request_id, query.request_id);
    assert_eq!(document.conversation_id, query.conversation_id);
    assert_eq!(document.initiator_id, query.request_id);
    assert_eq!(document.source_address, Some(host.address("mt-stock")));
    assert_eq!(document.destination_address, query.response_address);
    assert_eq!(document.response_address, None);
    assert_eq!(response.headers().text("Tenant"), Some("north"));
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dotnet_answers_rust_with_a_second_type_also_over_a_queue() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-stock"]).await;
    let bus = host.bus().await;
    let unknown: Stock = bus.request(&check("unknown-1")).await.unwrap();
    assert_eq!(
        unknown,
        OneOf2::Second(SkuUnknown {
            sku: "unknown-1".into()
        })
    );
    peer.consumed("mt-stock").await;
    let request = bus.request::<Stock>(&check("A-7")).to("queue:mt-stock");
    assert_eq!(request.await.unwrap(), OneOf2::First(levels("A-7")));
    assert_eq!(
        peer.consumed("mt-stock").await.destination_address,
        Some(host.address("mt-stock?bind=true"))
    );
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_stops_waiting_for_dotnet_in_time_and_passes_over_the_late_answer() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-stock"]).await;
    let bus = host.bus().await;
    let slow = bus
        .request::<Stock>(&check("slow-1"))
        .timeout(Duration::from_millis(1500));
    let (outcome, asked) = tokio::join!(slow.into_future(), peer.consumed("mt-stock"));
    assert!(
        matches!(outcome, Err(RequestError::Timeout { .. })),
        "{outcome:?}"
    );
    assert_eq!(asked.message::<CheckStock>(), check("slow-1"));
    assert_eq!(bus.pending_requests(), 0);
    // This one takes as long, so that the late answer to the other one is here before its own.
    let second: Stock = bus.request(&check("slow-2")).await.unwrap();
    assert_eq!(second, OneOf2::First(levels("slow-2")));
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dotnet_answers_a_thousand_queries_of_rust_at_once() {
    let host = Host::new().await;
    let _peer = host.peer(&["mt-stock"]).await;
    let bus = host.bus().await;
    let queries: Vec<_> = (0..MANY)
        .map(|number| check(format!("A-{number}")))
        .collect();
    let requests = queries
        .iter()
        .map(|query| bus.request::<StockLevels>(query).into_future());
    for (query, reply) in queries.iter().zip(join_all(requests).await) {
        assert_eq!(reply.unwrap(), levels(&query.sku));
    }
    bus.shutdown().await.unwrap();
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
    let slow = Command::request("CheckStock", &check("A-1")).with("timeoutMs", 1500);
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
