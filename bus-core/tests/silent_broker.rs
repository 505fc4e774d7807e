//! A broker that falls silent while a bus starts, on paused time.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use bus_core::topology::Topology;
use bus_core::transport::{
    Capabilities, Health, ListenSpec, Listener, Outgoing, Transport, TransportError,
    TransportErrorKind,
};
use bus_core::{Bus, BusBuilder, ConsumeResult, Endpoint, StartError, async_trait};
use tokio::time::timeout;

/// Refuses to declare, and never ends its connections.
#[derive(Debug)]
struct Silent;

fn refused<T>() -> Result<T, TransportError> {
    let text = "it exists with other arguments";
    Err(TransportError::new(TransportErrorKind::Mismatch, text))
}

#[async_trait]
impl Transport for Silent {
    async fn connect(&self) -> Result<(), TransportError> {
        Ok(())
    }
    async fn declare(&self, _: &Topology) -> Result<(), TransportError> {
        refused()
    }
    async fn send(&self, _: Outgoing) -> Result<(), TransportError> {
        refused()
    }
    async fn listen(&self, _: ListenSpec) -> Result<Arc<dyn Listener>, TransportError> {
        refused()
    }
    fn base_address(&self) -> String {
        "silent://localhost/".to_owned()
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities::NONE
    }
    fn health(&self) -> Health {
        Health::Up
    }
    async fn close(&self) {
        std::future::pending::<()>().await;
    }
}

fn builder() -> BusBuilder {
    let consumer = async |_| ConsumeResult::Ok(());
    Bus::builder(Silent).endpoint(Endpoint::new("orders").consume_any(consumer))
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_does_not_wait_for_a_silent_broker() {
    let minute = Duration::from_secs(60);
    let started = timeout(minute, builder().start()).await.unwrap();
    assert!(matches!(started, Err(StartError::Endpoint { .. })));
    let deployed = timeout(minute, builder().deploy_topology()).await.unwrap();
    assert!(matches!(deployed, Err(StartError::Endpoint { .. })));
}
