//! Messages that come later, and messages that come again.

use std::time::{Duration, Instant};

use bus_core::{ConsumeContext, Endpoint, Policy, Retry};
use bus_tests::Recorder;
use bus_tests::acme::SubmitOrder;
use bus_tests::peer::Command;
use serde_json::json;

use crate::support::{Host, order};

const SOON: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_dotnet_comes_again_as_it_was() {
    let host = Host::new().await;
    let peer = host.peer(&[]).await;
    let recorder = Recorder::<SubmitOrder>::deciding(|ctx| match ctx.redelivery_count() {
        0 | 1 => Err("not yet".into()),
        _ => Ok(()),
    });
    let endpoint =
        Endpoint::new("rs-orders").policy(Policy::new().redelivery(Retry::interval(2, SOON)));
    let bus = host.serve(endpoint.consumer(recorder.clone())).await;
    let sent = order("A-1");
    let command = Command::publish("SubmitOrder", &sent)
        .with("headers", json!({ "Tenant": "north", "Weight": 7 }));
    peer.does(command).await;
    let calls = recorder.take(3).await;
    assert_eq!(calls[0].message(), &sent);
    assert_eq!(
        calls
            .iter()
            .map(ConsumeContext::redelivery_count)
            .collect::<Vec<_>>(),
        [0, 1, 2]
    );
    let first = calls[0].envelope().clone();
    for again in &calls[1..] {
        let mut again = again.envelope().clone();
        again.headers = again
            .headers
            .iter()
            .filter(|(name, _)| !name.starts_with("MT-"))
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect();
        assert_eq!(again, first, "only the counts are new");
    }
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redeliveries_by_dotnet_count() {
    let host = Host::new().await;
    let peer = host.peer(&[]).await;
    let recorder = Recorder::<SubmitOrder>::failing();
    let endpoint =
        Endpoint::new("rs-orders").policy(Policy::new().redelivery(Retry::interval(3, SOON)));
    let bus = host.serve(endpoint.consumer(recorder.clone())).await;
    let command = Command::publish("SubmitOrder", &order("A-1"))
        .with("headers", json!({ "MT-Redelivery-Count": 2 }));
    peer.does(command).await;
    host.take("rs-orders_error").await;
    let calls = recorder.take(2).await;
    assert_eq!(
        calls
            .iter()
            .map(ConsumeContext::redelivery_count)
            .collect::<Vec<_>>(),
        [2, 3]
    );
    assert_eq!(recorder.calls(), 2);
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_message_reaches_dotnet() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-orders"]).await;
    let bus = host.bus().await;
    let (begun, delay) = (Instant::now(), Duration::from_millis(1500));
    let later = order("later");
    bus.publish(&later).deliver_in(delay).await.unwrap();
    let consumed = peer.consumed("mt-orders").await;
    assert!(
        begun.elapsed() >= delay,
        "it came after {:?}",
        begun.elapsed()
    );
    assert_eq!(consumed.message["orderNumber"], "later");
    bus.shutdown().await.unwrap();
}
