//! Observers hear of a send's end also where its confirm never comes.

use std::future::IntoFuture;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus_core::error::SendErrorKind;
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
struct Sent {
    confirmed: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<SendErrorKind>>>,
}

impl Sent {
    fn ends(&self) -> (usize, Vec<SendErrorKind>) {
        let failed = self.failed.lock().expect("no panic").clone();
        (self.confirmed.load(Ordering::SeqCst), failed)
    }
}

impl Observer for Sent {
    fn post_send(&self, _: &PostSend<'_>) {
        self.confirmed.fetch_add(1, Ordering::SeqCst);
    }

    fn send_fault(&self, fault: &SendFault<'_>) {
        self.failed
            .lock()
            .expect("no panic")
            .push(fault.error.kind());
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
    assert_eq!(sent.ends(), (1, vec![]));
    asking.shutdown().await.unwrap();
    answering.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_sender_stops_waiting_is_observed_as_failed() {
    let sent = Sent::default();
    let bus = Bus::builder(Unconfirmed(InMemory::new())).observe(sent.clone());
    let bus = bus.start().await.unwrap();
    let sending = bus.publish(&Ask {}).into_future();
    let given_up = tokio::time::timeout(Duration::from_secs(1), sending).await;
    assert!(given_up.is_err());
    assert_eq!(sent.ends(), (0, vec![SendErrorKind::TimedOut]));
    bus.shutdown().await.unwrap();
}
