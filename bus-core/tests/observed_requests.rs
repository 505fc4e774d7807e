//! A request is seen by observers also when its reply beats its confirm.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bus_core::observe::{Observer, PostSend, SendFault};
use bus_core::topology::Topology;
use bus_core::transport::{
    Capabilities, Health, ListenSpec, Listener, Outgoing, Transport, TransportError,
};
use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint, Message, async_trait};
use bus_inmemory::InMemory;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Tests.Observed:Ask")]
struct Ask {}

#[derive(Serialize, Deserialize, Message)]
#[message("Tests.Observed:Told")]
struct Told {}

async fn answer(ctx: ConsumeContext<Ask>) -> ConsumeResult {
    ctx.respond(&Told {}).await?;
    Ok(())
}

/// Sends, and never confirms.
#[derive(Debug)]
struct Unconfirmed(InMemory);

#[async_trait]
impl Transport for Unconfirmed {
    async fn connect(&self) -> Result<(), TransportError> {
        self.0.connect().await
    }

    async fn declare(&self, topology: &Topology) -> Result<(), TransportError> {
        self.0.declare(topology).await
    }

    async fn send(&self, outgoing: Outgoing) -> Result<(), TransportError> {
        self.0.send(outgoing).await?;
        std::future::pending().await
    }

    async fn listen(&self, spec: ListenSpec) -> Result<Arc<dyn Listener>, TransportError> {
        self.0.listen(spec).await
    }

    fn base_address(&self) -> String {
        self.0.base_address()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn health(&self) -> Health {
        self.0.health()
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

#[derive(Clone, Debug, Default)]
struct Sent(Arc<AtomicUsize>);

impl Observer for Sent {
    fn post_send(&self, _: &PostSend<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn send_fault(&self, fault: &SendFault<'_>) {
        panic!("it was sent: {fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_reply_beats_its_confirm_is_observed_once() {
    let broker = InMemory::new();
    let answering = Bus::builder(broker.clone()).endpoint(Endpoint::new("asked").consumer(answer));
    let answering = answering.start().await.unwrap();
    let sent = Sent::default();
    let asking = Bus::builder(Unconfirmed(broker)).observe(sent.clone());
    let asking = asking.start().await.unwrap();
    let _told: Told = asking.request(&Ask {}).await.unwrap();
    assert_eq!(sent.0.load(Ordering::SeqCst), 1);
    asking.shutdown().await.unwrap();
    answering.shutdown().await.unwrap();
}
