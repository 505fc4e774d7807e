//! Observers of messages, and the health of a bus.

pub(crate) mod health;
pub(crate) mod observer;

pub use health::{BusHealth, EndpointHealth};
pub(crate) use observer::Observers;
pub use observer::{Consumed, Observer};
