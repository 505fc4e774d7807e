//! Typed message contracts, consumers and pipelines of a service bus, without a broker.

pub mod envelope;
pub mod headers;
mod host;
mod message;
pub mod topology;
pub mod transport;

pub use envelope::Envelope;
pub use headers::{HeaderValue, Headers};
pub use host::HostInfo;
pub use message::{Contract, InvalidMessageType, MAX_NAME, Message, MessageType};
