//! What the other side learns of a failure.

use bus_core::message::HeaderValue;
use bus_core::{ConsumeError, Endpoint, Fault, RequestError};
use bus_tests::Recorder;
use bus_tests::acme::{CheckStock, StockLevels, SubmitOrder};
use bus_tests::peer::{Answer, Command};
use serde_json::json;
use uuid::Uuid;

use crate::support::{Host, Sent, assert_alike, order};

const OF_ORDER: [&str; 2] = [
    "urn:message:MassTransit:Fault[[Acme.Orders:SubmitOrder]]",
    "urn:message:MassTransit:Fault",
];

#[derive(Debug, thiserror::Error)]
#[error("no stock system for {sku}")]
struct NoStockSystem {
    sku: String,
    #[source]
    source: Unanswered,
}

#[derive(Debug, thiserror::Error)]
#[error("it did not answer")]
struct Unanswered;

fn no_stock_system() -> ConsumeError {
    let sku = "boom".to_owned();
    let source = Unanswered;
    NoStockSystem { sku, source }.into()
}

fn check() -> CheckStock {
    CheckStock { sku: "boom".into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_of_dotnet_reaches_the_requester_with_its_cause() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-stock"]).await;
    let bus = host.bus().await;
    let outcome = bus.request::<StockLevels>(&check()).await;
    let asked = peer.consumed("mt-stock").await;
    let Err(RequestError::Fault(fault)) = outcome else {
        panic!("no fault but {outcome:?}");
    };
    assert!(fault.fault_id.is_some());
    assert_eq!(fault.faulted_message_id, asked.message_id);
    assert_eq!(fault.fault_message_types, Some(asked.message_type));
    let [error] = fault.exceptions.as_slice() else {
        panic!("one exception, not {:?}", fault.exceptions);
    };
    assert_eq!(error.exception_type, "System.InvalidOperationException");
    assert_eq!(error.message, "No stock system for boom");
    let cause = error.inner_exception.as_ref().expect("a cause");
    assert_eq!(cause.exception_type, "System.TimeoutException");
    assert_eq!(cause.message, "it did not answer");
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_of_rust_reaches_the_requester_with_its_cause() {
    let host = Host::new().await;
    let peer = host.peer(&[]).await;
    let recorder = Recorder::<CheckStock>::deciding(|_| Err(no_stock_system()));
    let bus = host
        .serve(Endpoint::new("rs-stock").consumer(recorder.clone()))
        .await;
    let outcome = peer.run(Command::request("CheckStock", &check())).await;
    let asked = recorder.next().await;
    let Ok(Answer::Fault { fault }) = outcome else {
        panic!("no fault but {outcome:?}");
    };
    assert_eq!(fault["faultedMessageId"], json!(asked.message_id()));
    assert_eq!(
        fault["faultMessageTypes"],
        json!(["urn:message:Acme.Orders:CheckStock"])
    );
    let error = &fault["exceptions"][0];
    assert_eq!(error["message"], "no stock system for boom");
    let name = error["exceptionType"].as_str().expect("text");
    assert!(name.ends_with("NoStockSystem"), "{name}");
    assert_eq!(error["innerException"]["message"], "it did not answer");
    assert_eq!(fault["exceptions"].as_array().map(Vec::len), Some(1));
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_consumes_a_fault_that_dotnet_publishes() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-orders", "mt-faults"]).await;
    let recorder = Recorder::<Fault<SubmitOrder>>::new();
    let sent = Sent::default();
    let bus = host
        .builder()
        .observe(sent.clone())
        .endpoint(Endpoint::new("rs-faults").consumer(recorder.clone()))
        .start()
        .await
        .unwrap();
    let (failing, correlation_id) = (order("fail-1"), Uuid::new_v4());
    bus.publish(&failing)
        .correlation_id(correlation_id)
        .header("Tenant", "north")
        .await
        .unwrap();
    let (ctx, command) = (recorder.next().await, sent.only());
    let (fault, envelope) = (ctx.message(), ctx.envelope());
    assert_alike(envelope, &peer.consumed("mt-faults").await);
    assert_eq!(envelope.message_types.as_ref(), OF_ORDER);
    assert_eq!(envelope.correlation_id, Some(correlation_id));
    assert_eq!(envelope.conversation_id, command.conversation_id);
    assert_eq!(envelope.initiator_id, Some(correlation_id));
    assert_eq!(envelope.source_address, Some(host.address("mt-orders")));
    assert_eq!(envelope.headers.text("Tenant"), Some("north"));
    let retries = envelope.headers.get("MT-Fault-RetryCount");
    assert_eq!(retries.and_then(HeaderValue::as_i64), Some(2));
    assert_eq!(fault.faulted_message_id, command.message_id);
    assert_eq!(fault.message.as_ref(), Some(&failing));
    assert_eq!(fault.exceptions[0].message, "Order fail-1 is refused");
    assert_eq!(
        fault.fault_message_types.as_deref(),
        Some(&["urn:message:Acme.Orders:SubmitOrder".to_owned()][..])
    );
    let attempts = [0, 1, 2].map(|_| peer.consumed("mt-orders"));
    let attempts = futures_util::future::join_all(attempts).await;
    assert_eq!(
        attempts
            .iter()
            .map(|attempt| attempt.retry_attempt)
            .collect::<Vec<_>>(),
        [0, 1, 2]
    );
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dotnet_consumes_a_fault_that_rust_publishes() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-faults"]).await;
    let recorder = Recorder::<SubmitOrder>::failing();
    let overhearing = Recorder::<Fault<SubmitOrder>>::new();
    let bus = host
        .builder()
        .endpoint(
            Endpoint::new("rs-orders")
                .retry(bus_core::Retry::immediate(2))
                .consumer(recorder.clone()),
        )
        .endpoint(Endpoint::new("rs-faults").consumer(overhearing.clone()))
        .start()
        .await
        .unwrap();
    let (failing, correlation_id) = (order("A-1"), Uuid::new_v4());
    let command = Command::publish("SubmitOrder", &failing)
        .with("correlationId", correlation_id.to_string())
        .with("headers", json!({ "Tenant": "north" }));
    peer.does(command).await;
    let failed = recorder.take(3).await.remove(0);
    let fault = peer.consumed("mt-faults").await;
    assert_alike(overhearing.next().await.envelope(), &fault);
    assert_eq!(fault.consumed_as, OF_ORDER[0]);
    assert_eq!(fault.message_type, OF_ORDER);
    assert_eq!(fault.correlation_id, Some(correlation_id));
    assert_eq!(fault.conversation_id, failed.conversation_id());
    assert_eq!(fault.initiator_id, Some(correlation_id));
    assert_eq!(fault.source_address, Some(host.address("rs-orders")));
    assert_eq!(fault.headers["Tenant"], "north");
    assert_eq!(fault.headers["MT-Fault-RetryCount"], 2);
    assert_eq!(
        fault.message["faultedMessageId"],
        json!(failed.message_id())
    );
    assert_eq!(fault.message["message"]["orderId"], json!(failing.order_id));
    assert_eq!(fault.message["message"]["orderNumber"], "A-1");
    assert_eq!(fault.message["exceptions"][0]["message"], "broken");
    assert_eq!(
        fault.message["faultMessageTypes"],
        json!(["urn:message:Acme.Orders:SubmitOrder"])
    );
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_of_dotnet_goes_to_the_address_that_rust_names() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-orders", "mt-faults"]).await;
    let recorder = Recorder::<Fault<SubmitOrder>>::new();
    let endpoint = Endpoint::new("rs-own-faults").without_subscriptions();
    let bus = host.serve(endpoint.consumer(recorder.clone())).await;
    let failing = order("fail-own");
    bus.publish(&failing)
        .fault_address("queue:rs-own-faults")
        .await
        .unwrap();
    let address = Some(host.address("rs-own-faults?bind=true"));
    assert_eq!(peer.consumed("mt-orders").await.fault_address, address);
    let ctx = recorder.next().await;
    assert_eq!(ctx.message().message.as_ref(), Some(&failing));
    assert_eq!(ctx.envelope().destination_address, address);
    // Faults that are published reach `mt-faults`: the first one there is the next command's.
    let published = order("fail-published");
    bus.publish(&published).await.unwrap();
    let first = peer.consumed("mt-faults").await;
    assert_eq!(
        first.message["message"]["orderId"],
        json!(published.order_id)
    );
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_of_rust_goes_to_the_address_that_dotnet_names() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-faults"]).await;
    let failing = Recorder::<SubmitOrder>::failing();
    let published = Recorder::<Fault<SubmitOrder>>::new();
    let bus = host
        .builder()
        .endpoint(
            Endpoint::new("rs-orders")
                .concurrency(1)
                .consumer(failing.clone()),
        )
        .endpoint(Endpoint::new("rs-faults").consumer(published.clone()))
        .start()
        .await
        .unwrap();
    let (own, other) = (order("own"), order("published"));
    let address = host.address("mt-faults?bind=true");
    peer.does(Command::publish("SubmitOrder", &own).with("faultAddress", address.as_ref()))
        .await;
    let fault = peer.consumed("mt-faults").await;
    assert_eq!(fault.message["message"]["orderId"], json!(own.order_id));
    assert_eq!(fault.destination_address, Some(address.clone()));
    assert_eq!(failing.next().await.envelope().fault_address, Some(address));
    peer.does(Command::publish("SubmitOrder", &other)).await;
    assert_eq!(
        published.next().await.message().message.as_ref(),
        Some(&other),
        "the fault that went to its address was not published too"
    );
    bus.shutdown().await.unwrap();
}
