//! Conformance suites of the service bus, and where they run.

mod broker;
#[cfg(feature = "containers")]
mod container;
mod node;
mod proxy;

pub use broker::Broker;
pub use proxy::Proxy;
