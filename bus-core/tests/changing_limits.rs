//! The concurrency holds while it changes a hundred times a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message, Policy, queue};
use bus_inmemory::Harness;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

/// Time for which a consumer runs.
const WORK: Duration = Duration::from_millis(3);

/// Time after a change for which consumers from before it may run.
const SETTLING: Duration = Duration::from_millis(4);

/// Time until the next change.
const WATCHED: Duration = Duration::from_millis(6);

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Invoicing:CreateInvoice")]
struct CreateInvoice {}

/// Counts the consumers that run, and how many of them did at once.
#[derive(Default)]
struct Running {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Running {
    async fn work(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        sleep(WORK).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_messages_run_than_the_limit_says_while_it_changes()
-> Result<(), Box<dyn std::error::Error>> {
    const CHANGES: usize = 200;
    let running = Arc::new(Running::default());
    let consume = |running: Arc<Running>, _: ConsumeContext<CreateInvoice>| async move {
        running.work().await;
        ConsumeResult::Ok(())
    };
    let endpoint = Endpoint::new("invoices")
        .concurrency(16)
        .policy(Policy::new().prefetch(64).start_paused())
        .consumer_with(Arc::clone(&running), consume);
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await?;
    for _ in 0..CHANGES * 60 {
        harness
            .send_to(queue("invoices"), &CreateInvoice {})
            .await?;
    }
    let invoices = harness.bus().endpoint("invoices").ok_or("it is there")?;
    invoices.resume().await?;
    for number in 0..CHANGES {
        let limit = number * 7 % 16 + 1;
        invoices.set_concurrency(limit)?;
        // Those that ran before may be more than the new limit.
        sleep(SETTLING).await;
        running.most.store(0, Ordering::SeqCst);
        sleep(WATCHED).await;
        let most = running.most.load(Ordering::SeqCst);
        assert_eq!(most, limit, "change {number}");
    }
    invoices.pause().await;
    assert!(harness.consumed::<CreateInvoice>().count() > CHANGES);
    harness.shutdown().await?;
    Ok(())
}
