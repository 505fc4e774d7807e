//! Rust asks, .NET answers.

use std::time::Duration;

use bus_core::codec::Codec;
use bus_core::request::OneOf2;
use bus_core::{Policy, RequestError};
use bus_tests::acme::{CheckStock, SkuUnknown, StockLevels};
use bus_tests::peer::Peer;
use futures_util::future::join_all;
use serde_json::json;

use crate::stock::{MANY, Stock, check, levels};
use crate::support::{Host, Sent, assert_alike};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dotnet_answers_a_query_of_rust() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-stock"]).await;
    let sent = Sent::default();
    let bus = host.builder().observe(sent.clone()).start().await.unwrap();
    let response = bus
        .request::<Stock>(&check("A-7"))
        .header("Tenant", "north")
        .deadline(Duration::from_secs(15))
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
        .deadline(Duration::from_millis(1500));
    let (outcome, asked) = tokio::join!(slow.into_future(), peer.consumed("mt-stock"));
    assert!(
        matches!(outcome, Err(RequestError::TimedOut { .. })),
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
async fn dotnet_answers_a_query_of_rust_in_bare_json() {
    let host = Host::new().await;
    let peer = Peer::start_with(&host.url, &["mt-stock"], &["--raw"]).await;
    let sent = Sent::default();
    let builder = host.builder().policy(Policy::new().codec(Codec::RawJson));
    let bus = builder.observe(sent.clone()).start().await.unwrap();
    let request = bus.request::<Stock>(&check("A-7"));
    let response = request.response().await.unwrap();
    assert_eq!(*response.message(), OneOf2::First(levels("A-7")));
    let (query, seen) = (sent.only(), peer.consumed("mt-stock").await);
    assert_eq!(seen.content_type.as_deref(), Some("application/json"));
    assert_eq!(seen.request_id, query.request_id);
    assert_eq!(seen.response_address, query.response_address);
    assert_eq!(response.envelope().request_id, query.request_id);
    assert_eq!(response.envelope().conversation_id, query.conversation_id);
    bus.shutdown().await.unwrap();
}
