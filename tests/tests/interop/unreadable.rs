//! What the other side cannot read, or does not consume.

use bus_core::error::ReceiveFault;
use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message};
use bus_tests::Recorder;
use bus_tests::acme::{CheckStock, SubmitOrder};
use bus_tests::peer::{Answer, Command};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::support::{Host, header, shipped};

/// A reading of the contract on which its owner never agreed.
#[derive(Serialize, Deserialize, Message)]
#[message("Acme.Orders:CheckStock")]
struct Misread {
    sku: u32,
}

async fn never(ctx: ConsumeContext<Misread>) -> ConsumeResult {
    panic!("consumed {}", ctx.message().sku)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dotnet_hears_at_once_that_rust_cannot_read_its_query() {
    let host = Host::new().await;
    let peer = host.peer(&[]).await;
    let bus = host.serve(Endpoint::new("rs-stock").consumer(never)).await;
    let query = CheckStock { sku: "A-7".into() };
    let outcome = peer.run(Command::request("CheckStock", &query)).await;
    let Ok(Answer::Fault { fault }) = outcome else {
        panic!("no fault but {outcome:?}");
    };
    let reason = fault["exceptions"][0]["message"].as_str().expect("text");
    assert!(reason.contains("sku"), "{reason}");
    let kept = host.take("rs-stock_error").await.delivery.properties;
    assert_eq!(fault["faultedMessageId"], json!(kept.message_id()));
    assert_eq!(header(&kept, "MT-Fault-Message"), reason);
    bus.shutdown().await.unwrap();
}

/// A `DateTime` of .NET is never null: the usual mistake of a contract that is written down twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_hears_that_dotnet_cannot_read_its_command() {
    let host = Host::new().await;
    let _peer = host.peer(&["mt-orders"]).await;
    let recorder = Recorder::<ReceiveFault>::new();
    let endpoint = Endpoint::new("rs-faults").consumer(recorder.clone());
    let bus = host.serve(endpoint).await;
    let id = Uuid::new_v4();
    let null = SubmitOrder::default();
    assert_eq!(null.submitted_at, None);
    bus.publish(&null).message_id(id).await.unwrap();
    let told = recorder.next().await;
    assert_eq!(
        told.message().content_type.as_deref(),
        Some("application/vnd.masstransit+json")
    );
    let causes = serde_json::to_string(&told.message().exceptions).unwrap();
    assert!(causes.contains("submittedAt"), "{causes}");
    assert!(
        causes.contains("System.Text.Json.JsonException"),
        "{causes}"
    );
    let kept = host.take("mt-orders_error").await.delivery.properties;
    assert_eq!(
        kept.message_id().as_ref().map(ToString::to_string),
        Some(id.to_string())
    );
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_consumer_there_is_kept_in_the_skipped_queue_of_either_side() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-stock"]).await;
    let bus = host.serve(Endpoint::new("rs-stock").consumer(never)).await;
    let stray = shipped("A-1");
    bus.send_to("queue:mt-stock", &stray).await.unwrap();
    peer.does(Command::send("queue:rs-stock", "OrderShipped", &stray))
        .await;
    for queue in ["mt-stock_skipped", "rs-stock_skipped"] {
        let properties = host.take(queue).await.delivery.properties;
        assert_eq!(header(&properties, "MT-Reason"), "dead-letter");
        let correlation_id = properties.correlation_id().as_ref();
        assert_eq!(
            correlation_id.map(ToString::to_string),
            Some(stray.correlation_id.to_string()),
            "{queue}"
        );
    }
    bus.shutdown().await.unwrap();
}
