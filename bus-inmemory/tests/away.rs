//! A broker that is away while messages are consumed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus_core::observe::EndpointState;
use bus_core::topology::Topology;
use bus_core::transport::{
    Capabilities, Health, ListenSpec, Listener, Outgoing, Transport, TransportError,
    TransportErrorKind,
};
use bus_core::{Bus, ConsumeContext, ConsumeError, ConsumeResult, Endpoint, Message, async_trait};
use bus_inmemory::InMemory;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

#[derive(Serialize, Deserialize, Message)]
#[message("Away:Work")]
struct Work {}

#[derive(Serialize, Deserialize, Message)]
#[message("Away:Done")]
struct Done {}

/// Takes no events while it is away, and says so.
#[derive(Debug)]
struct Away {
    inner: InMemory,
    is_away: Arc<AtomicBool>,
}

#[async_trait]
impl Transport for Away {
    async fn send(&self, outgoing: Outgoing) -> Result<(), TransportError> {
        if outgoing.target.name() == "Away:Done" && self.is_away.load(Ordering::SeqCst) {
            return Err(TransportError::new(TransportErrorKind::Unreachable, "away"));
        }
        self.inner.send(outgoing).await
    }
    async fn connect(&self) -> Result<(), TransportError> {
        self.inner.connect().await
    }
    async fn declare(&self, topology: &Topology) -> Result<(), TransportError> {
        self.inner.declare(topology).await
    }
    async fn listen(&self, spec: ListenSpec) -> Result<Arc<dyn Listener>, TransportError> {
        self.inner.listen(spec).await
    }
    fn base_address(&self) -> String {
        self.inner.base_address()
    }
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    fn health(&self) -> Health {
        if self.is_away.load(Ordering::SeqCst) {
            return Health::Down("away".to_owned());
        }
        self.inner.health()
    }
    async fn close(&self) {
        self.inner.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_held_until_the_broker_is_there() {
    let (is_away, calls) = (
        Arc::new(AtomicBool::new(true)),
        Arc::<AtomicUsize>::default(),
    );
    let transport = Away {
        inner: InMemory::new(),
        is_away: Arc::clone(&is_away),
    };
    let counted = Arc::clone(&calls);
    let works = move |ctx: ConsumeContext<Work>| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            ctx.publish(&Done {}).immediately().await?;
            ConsumeResult::Ok(())
        }
    };
    let endpoint = Endpoint::new("work").consumer::<Work, _>(works);
    let bus = Bus::builder(transport).endpoint(endpoint);
    let bus = bus.start().await.unwrap();
    bus.send_to("queue:work", &Work {}).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60 * 60)).await;
    assert_eq!(calls.load(Ordering::SeqCst), 1, "it goes back once");
    let health = bus.health();
    let work = health.endpoint("work").unwrap();
    assert_eq!(work.state, EndpointState::Unavailable, "{health:?}");
    let reason = work.reason.as_deref().unwrap_or_default();
    assert!(
        reason.contains("away") && reason.contains("go back"),
        "{reason}"
    );
    is_away.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert!(bus.health().is_healthy(), "{:?}", bus.health());
    bus.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_delivery_goes_back_after_ten_minutes_without_what_it_needs() {
    let calls = Arc::<Mutex<Vec<(Instant, bool)>>>::default();
    let noted = Arc::clone(&calls);
    let needs = move |ctx: ConsumeContext<Work>| {
        let call = (Instant::now(), ctx.redelivered());
        noted.lock().unwrap().push(call);
        async { ConsumeResult::Err(ConsumeError::unavailable("no database")) }
    };
    let endpoint = Endpoint::new("work").consumer(needs);
    let bus = Bus::builder(InMemory::new()).endpoint(endpoint);
    let bus = bus.start().await.unwrap();
    bus.publish(&Work {}).await.unwrap();
    let came_back = || {
        calls
            .lock()
            .unwrap()
            .iter()
            .any(|(_, redelivered)| *redelivered)
    };
    while !came_back() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    bus.shutdown().await.unwrap();
    let calls = calls.lock().unwrap();
    let waited = calls[calls.len() - 1].0 - calls[0].0;
    let minutes = Duration::from_secs(60);
    assert!(
        waited >= 10 * minutes && waited < 12 * minutes,
        "{waited:?}"
    );
    assert!(calls.len() > 15, "it was tried all the time");
}
