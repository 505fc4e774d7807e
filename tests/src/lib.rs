//! Brokers, databases, proxies and raw clients for the tests, and the transports on which the suite runs.
//!
//! The suite itself and the helpers of its tests are in `bus-conformance`.

pub mod acme;
mod broker;
#[cfg(feature = "containers")]
mod container;
mod in_memory;
mod log;
pub mod mortal;
mod node;
pub mod peer;
mod ports;
mod probe;
mod proxy;
mod rabbitmq;
pub mod raw_amqp;
mod servers;

pub use broker::{Broker, Setup};
pub use bus_conformance::TestBroker;
pub use bus_conformance::support::{
    Gate, Reader, Recorder, Rig, Wire, contracts, envelope, eventually, numbers, raw, until, with,
    within,
};
pub use in_memory::{InMemoryTestBroker, RenamedTestBroker};
pub use log::Log;
pub use peer::Peer;
pub use proxy::{Cut, Proxy};
pub use rabbitmq::RabbitMqTestBroker;
pub use servers::{Database, PostgresServer, RedisServer};

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
    #[doc = include_str!("../../docs/flow.md")]
    mod flow {}
    #[doc = include_str!("../../docs/guarantees.md")]
    mod guarantees {}
    #[doc = include_str!("../../docs/health.md")]
    mod health {}
    #[doc = include_str!("../../docs/idempotency-store.md")]
    mod idempotency_store {}
    #[doc = include_str!("../../docs/interop.md")]
    mod interop {}
    #[doc = include_str!("../../docs/logging.md")]
    mod logging {}
    #[doc = include_str!("../../docs/retries.md")]
    mod retries {}
    #[doc = include_str!("../../docs/routing-slips.md")]
    mod routing_slips {}
    #[doc = include_str!("../../docs/sagas.md")]
    mod sagas {}
    #[doc = include_str!("../../docs/scheduling.md")]
    mod scheduling {}
    #[doc = include_str!("../../docs/transactions.md")]
    mod transactions {}
}
