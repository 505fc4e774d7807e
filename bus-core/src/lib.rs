//! Typed message contracts, consumers and pipelines of a service bus, without a broker.

// The derive writes `::bus_core`, also for the messages of this crate.
extern crate self as bus_core;

pub mod codec;
#[doc(hidden)]
pub mod derive_support;
pub mod envelope;
pub mod headers;
mod host;
mod iso8601;
mod message;
pub mod serde_helpers;
pub mod topology;
mod trace;
pub mod transport;

#[cfg(feature = "macros")]
pub use bus_macros::Message;
pub use codec::Codec;
pub use envelope::Envelope;
pub use headers::{HeaderValue, Headers};
pub use host::HostInfo;
pub use message::{Contract, InvalidMessageType, MAX_NAME, Message, MessageType};
pub use trace::TraceContext;
