//! Typed message contracts, consumers and pipelines of a service bus, without a broker.

// The derive writes `::bus_core`, also for the messages of this crate.
extern crate self as bus_core;

mod address;
mod builder;
mod bus;
pub mod codec;
mod consumer;
mod context;
#[doc(hidden)]
pub mod derive_support;
mod dispatch;
mod endpoint;
pub mod envelope;
mod error;
mod failure;
pub mod fault;
pub mod headers;
mod host;
pub mod idempotency;
mod iso8601;
mod lanes;
mod message;
pub mod middleware;
mod names;
mod observer;
mod outgoing;
mod pause;
mod plan;
mod publish_topology;
mod receiver;
mod reply;
mod request;
mod request_error;
mod send_error;
mod sending;
pub mod serde_helpers;
mod start_error;
pub mod topology;
mod trace;
pub mod transport;
mod validation;

pub use address::{Address, InvalidAddress};
pub use async_trait::async_trait;
pub use builder::BusBuilder;
pub use bus::{Bus, BusHealth, EndpointHandle, StopTimeout};
#[cfg(feature = "macros")]
pub use bus_macros::Message;
pub use codec::Codec;
pub use consumer::{Consumer, RawMessage};
pub use context::{AnyMessage, ConsumeContext};
pub use dispatch::Dispatch;
pub use endpoint::Endpoint;
pub use envelope::Envelope;
pub use error::{ConsumeError, ConsumeResult, FailureKind};
pub use fault::Fault;
pub use headers::{HeaderValue, Headers};
pub use host::HostInfo;
pub use idempotency::{
    Begin, IdempotencyStore, MemoryIdempotencyStore, StoreError, StoredReply, Token,
};
pub use message::{Contract, InvalidMessageType, MAX_NAME, Message, MessageType};
pub use middleware::{Idempotency, Jitter, Middleware, Next, Retry};
pub use observer::{Consumed, Observer};
pub use outgoing::{Draft, Intent, OutgoingHook, Parcel};
pub use publish_topology::PublishTopology;
pub use reply::{OneOf2, OneOf3, Reply, Response};
pub use request::Requesting;
pub use request_error::{RemoteFault, RequestError};
pub use send_error::{SendError, SendErrorKind};
pub use sending::Sending;
pub use start_error::{Mistakes, StartError};
pub use trace::TraceContext;
