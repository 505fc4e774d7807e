//! What a service bus must do, as code that runs against any transport or store.
//!
//! ```text
//!   suite/*.rs         one async fn for each behaviour     ─┐
//!   conformance!(…)    one #[tokio::test] for each of them ─┴─ on one transport: a Stage
//!   stores.rs          the same for idempotency stores
//! ```
//!
//! A transport joins by implementing [`Stage`] and naming it once:
//!
//! ```text
//! bus_tests::conformance!(in_memory, bus_tests::InMemoryStage::new());
//! ```
//!
//! The identifiers in the docs of behaviours (`PS-04`) number what the test suites of established systems verify.

pub mod acme;
mod broker;
mod conformance;
#[cfg(feature = "containers")]
mod container;
pub mod contracts;
mod gate;
mod in_memory;
mod log;
mod node;
mod outcome;
pub mod peer;
mod ports;
mod probe;
mod proxy;
mod rabbitmq;
pub mod raw_amqp;
mod recorder;
mod rigged;
mod stage;
pub mod stores;
pub mod suite;
mod wait;
mod wire;

pub use broker::{Broker, Setup};
pub use conformance::run;
pub use gate::Gate;
pub use in_memory::InMemoryStage;
pub use log::Log;
pub use outcome::{Failure, Outcome};
pub use peer::Peer;
pub use proxy::Proxy;
pub use rabbitmq::RabbitMqStage;
pub use recorder::{Recorder, numbers, with};
pub use rigged::Rig;
pub use stage::Stage;
pub use wait::{eventually, until, within};
pub use wire::{Reader, Wire, envelope, raw};

/// The examples of the documents are tests too.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../README.md")]
    mod readme {}
    #[doc = include_str!("../../docs/concepts.md")]
    mod concepts {}
    #[doc = include_str!("../../docs/configuration.md")]
    mod configuration {}
    #[doc = include_str!("../../docs/error-queues.md")]
    mod error_queues {}
    #[doc = include_str!("../../docs/health.md")]
    mod health {}
    #[doc = include_str!("../../docs/idempotency-store.md")]
    mod idempotency_store {}
    #[doc = include_str!("../../docs/interop.md")]
    mod interop {}
    #[doc = include_str!("../../docs/logging.md")]
    mod logging {}
}
