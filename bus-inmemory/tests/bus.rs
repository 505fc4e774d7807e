//! A bus on the in-memory transport.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint, Message, RequestError, Retry};
use bus_inmemory::InMemory;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
#[message("Invoicing:InvoiceCreated")]
struct InvoiceCreated {
    number: String,
}

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Stock:CheckStock")]
struct CheckStock {
    sku: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Message)]
#[message("Stock:StockLevel")]
struct StockLevel {
    on_hand: u32,
}

async fn check(ctx: ConsumeContext<CheckStock>) -> ConsumeResult {
    if ctx.message().sku.is_empty() {
        return Err("which one?".into());
    }
    ctx.respond(&StockLevel { on_hand: 7 }).await?;
    Ok(())
}

/// An endpoint that passes on what it consumes.
fn probe(name: &str) -> (Endpoint, mpsc::UnboundedReceiver<InvoiceCreated>) {
    let (seen, receiver) = mpsc::unbounded_channel();
    let consumer = move |ctx: ConsumeContext<InvoiceCreated>| {
        let seen = seen.clone();
        async move {
            seen.send(ctx.message().clone())?;
            ConsumeResult::Ok(())
        }
    };
    let endpoint = Endpoint::new(name).consumer::<InvoiceCreated, _>(consumer);
    (endpoint, receiver)
}

fn invoice(number: &str) -> InvoiceCreated {
    InvoiceCreated {
        number: number.into(),
    }
}

#[tokio::test(start_paused = true)]
async fn every_endpoint_gets_what_is_published() {
    let (billing, mut to_billing) = probe("billing");
    let (mail, mut to_mail) = probe("mail");
    let bus = Bus::builder(InMemory::new())
        .endpoint(billing)
        .endpoint(mail)
        .start()
        .await
        .unwrap();
    bus.publish(&invoice("A-7")).await.unwrap();
    assert_eq!(to_billing.recv().await, Some(invoice("A-7")));
    assert_eq!(to_mail.recv().await, Some(invoice("A-7")));
    bus.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn requests_are_answered_with_replies_and_faults() {
    let bus = Bus::builder(InMemory::new())
        .endpoint(Endpoint::new("stock").consumer(check))
        .start()
        .await
        .unwrap();
    let sku = String::from("X");
    let level: StockLevel = bus.request(&CheckStock { sku }).await.unwrap();
    assert_eq!(level, StockLevel { on_hand: 7 });
    let sku = String::new();
    let refused = bus.request::<StockLevel>(&CheckStock { sku }).await;
    assert!(
        matches!(refused, Err(RequestError::Fault(_))),
        "{refused:?}"
    );
    bus.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn buses_on_one_broker_reach_each_other_and_others_do_not() {
    let broker = InMemory::new();
    let (billing, mut to_billing) = probe("billing");
    let consuming = Bus::builder(broker.clone()).endpoint(billing).start().await;
    let consuming = consuming.unwrap();
    let publishing = Bus::builder(broker).start().await.unwrap();
    let stranger = Bus::builder(InMemory::new()).start().await.unwrap();
    stranger.publish(&invoice("B-1")).await.unwrap();
    publishing.publish(&invoice("A-1")).await.unwrap();
    assert_eq!(to_billing.recv().await, Some(invoice("A-1")));
    for bus in [consuming, publishing, stranger] {
        bus.shutdown().await.unwrap();
    }
    assert_eq!(to_billing.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn hours_of_retries_take_no_time() {
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let (done, mut is_done) = mpsc::unbounded_channel();
    let began = tokio::time::Instant::now();
    let seen = Arc::clone(&attempts);
    let consumer = move |_: ConsumeContext<InvoiceCreated>| {
        let (seen, done) = (Arc::clone(&seen), done.clone());
        async move {
            seen.lock().unwrap().push(began.elapsed());
            if seen.lock().unwrap().len() < 4 {
                return Err("not yet".into());
            }
            done.send(())?;
            ConsumeResult::Ok(())
        }
    };
    let endpoint = Endpoint::new("billing").consumer::<InvoiceCreated, _>(consumer);
    let hour = Duration::from_secs(3600);
    let bus = Bus::builder(InMemory::new())
        .endpoint(endpoint.retry(Retry::interval(3, hour)))
        .start()
        .await
        .unwrap();
    bus.publish(&invoice("A-7")).await.unwrap();
    is_done.recv().await;
    assert!(attempts.lock().unwrap()[3] >= hour * 3);
    bus.shutdown().await.unwrap();
}
