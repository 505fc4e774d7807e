//! Conformance suite for transports and idempotency stores of the service bus.
//!
//! More than 300 behaviours that the bus promises, from routing to shutdown, each an async function
//! that runs against any transport.
//!
//! ```text
//!   suite/*.rs            a function for each behaviour, listed at the foot of its file ─┐
//!   conformance!          a test for each of them, in modules transport::theme          ─┴─ on a TestBroker
//!   idempotency_store!    the same for the behaviours of a store
//! ```
//!
//! # A transport
//!
//! Implement [`TestBroker`] and name it once, in a test target of the transport's crate:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use bus_conformance::{TestBroker, support::unique_id};
//! use bus_core::transport::Transport;
//! use bus_core::{Bus, BusBuilder, async_trait};
//!
//! # #[derive(Debug)]
//! # struct MyTransport;
//! # impl MyTransport {
//! #     fn new(_: &str) -> Self { unimplemented!() }
//! # }
//! # async fn waiting(_: &str, _: &str) -> Option<u32> { unimplemented!() }
//! # use bus_core::topology::Topology;
//! # use bus_core::transport::{Capabilities, Health, ListenSpec, Listener, Outgoing, TransportError};
//! # #[async_trait]
//! # impl Transport for MyTransport {
//! #     async fn send(&self, _: Outgoing) -> Result<(), TransportError> { unimplemented!() }
//! #     async fn connect(&self) -> Result<(), TransportError> { unimplemented!() }
//! #     async fn declare(&self, _: &Topology) -> Result<(), TransportError> { unimplemented!() }
//! #     async fn listen(&self, _: ListenSpec) -> Result<Arc<dyn Listener>, TransportError> {
//! #         unimplemented!()
//! #     }
//! #     fn base_address(&self) -> String { unimplemented!() }
//! #     fn capabilities(&self) -> Capabilities { unimplemented!() }
//! #     fn health(&self) -> Health { unimplemented!() }
//! #     async fn close(&self) {}
//! # }
//! struct MyTestBroker {
//!     url: String,
//!     id: String,
//! }
//!
//! impl MyTestBroker {
//!     fn new() -> Self {
//!         Self { url: "my-broker://localhost".to_owned(), id: unique_id() }
//!     }
//! }
//!
//! #[async_trait]
//! impl TestBroker for MyTestBroker {
//!     fn builder(&self) -> BusBuilder {
//!         Bus::builder(MyTransport::new(&self.url))
//!     }
//!
//!     fn transport(&self) -> Arc<dyn Transport> {
//!         Arc::new(MyTransport::new(&self.url))
//!     }
//!
//!     async fn depth(&self, queue: &str) -> Option<u32> {
//!         waiting(&self.url, queue).await
//!     }
//!
//!     fn id(&self) -> &str {
//!         &self.id
//!     }
//! }
//!
//! bus_conformance::conformance!(my_broker, MyTestBroker::new());
//! # fn main() {}
//! ```
//!
//! `cargo test my_broker::routing` runs one theme. A behaviour that needs a
//! [capability](bus_core::transport::Capability) which the transport does not claim prints
//! `not claimed: …`; what is claimed is tested.
//!
//! # A store
//!
//! [`idempotency_store!`] takes an expression that makes the store of one test.
//!
//! [`support`] has helpers for the tests that one transport needs alone.

#[macro_use]
mod macros;
#[doc(hidden)]
pub mod run;
#[doc(hidden)]
pub mod stores;
#[doc(hidden)]
pub mod suite;
pub mod support;
mod test_broker;

pub use test_broker::TestBroker;
