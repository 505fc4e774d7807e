//! Typed message contracts, consumers and pipelines of a service bus, without a broker.
//!
//! ```text
//!  publish ─► Sending ─► Dispatch ─────────────► Transport::send ─► broker
//!                          ▲  │ outbox: hold                        │
//!                          │  ▼                                     ▼
//!  consumer ◄─ Middleware… ◄─ pipeline ◄── Delivery ◄── Listener::next
//!                                  │ ok: ack   │ failed: Fault + <queue>_error, then ack
//! ```
//!
//! A bus runs on a [transport](transport::Transport): `bus-rabbitmq` in production, `bus-inmemory` in tests.
//!
//! ```
//! use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint, Message};
//! use bus_inmemory::InMemory;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, Message)]
//! #[message("Invoicing:GetInvoice")]
//! struct GetInvoice { number: String }
//!
//! #[derive(Serialize, Deserialize, Message)]
//! #[message("Invoicing:InvoiceDocument")]
//! struct InvoiceDocument { number: String, total: u64 }
//!
//! async fn answer(ctx: ConsumeContext<GetInvoice>) -> ConsumeResult {
//!     let number = ctx.message().number.clone();
//!     ctx.respond(&InvoiceDocument { number, total: 120 }).await?;
//!     Ok(())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bus = Bus::builder(InMemory::new())
//!     .endpoint(Endpoint::new("invoice-queries").consumer(answer))
//!     .start()
//!     .await?;
//! let document: InvoiceDocument = bus.request(&GetInvoice { number: "A-7".into() }).await?;
//! assert_eq!(document.total, 120);
//! bus.shutdown().await?;
//! # Ok(()) }
//! ```
//!
//! | concept | is |
//! |---|---|
//! | [`Message`] | a type with a wire name |
//! | [`Envelope`] | what travels: ids, addresses, headers, body |
//! | [`Bus`], [`BusBuilder`] | builds, starts, publishes, sends, asks, stops |
//! | [`Endpoint`] | a queue, its consumers, and what runs around them |
//! | [`Consumer`], [`ConsumeContext`] | what a user writes, and one message being consumed |
//! | [`Middleware`], [`Retry`], [`Idempotency`] | before, after, again, or not at all |
//! | [`Sending`], [`Requesting`] | a message or question about to leave |
//! | [`Fault`] | what is left when consuming failed |
//! | [`Observer`] | who watches |
//! | [`transport`] | the seam to a broker |
//!
//! # Guarantees
//!
//! - A publish or send that returns `Ok` is owned by the broker.
//! - A delivery is acknowledged after its consumer has succeeded and everything that it sent is confirmed.
//! - A consumer that fails has sent nothing, unless it said `immediately()`.
//! - A failed message ends in `<queue>_error`, byte for byte, and a request is always answered.
//! - A broker that is away is waited for; no consumer runs again because its output waits.
//!
//! # Non-guarantees
//!
//! - A message may come twice: after a crash, a lost connection, or a confirm that was lost. Exactly once is an effect of
//!   idempotent consumers, never a delivery.
//! - Order is that of the queue at a concurrency of 1 only.
//! - The outbox is in memory: it knows nothing of database transactions.
//!
//! | feature | brings | default |
//! |---|---|---|
//! | `macros` | `#[derive(Message)]` | yes |

// The derive writes `::bus_core`, also for the messages of this crate.
extern crate self as bus_core;

mod address;
mod builder;
mod bus;
pub mod codec;
mod consumer;
mod consumers;
mod context;
mod crash_guard;
mod cutting;
#[doc(hidden)]
pub mod derive_support;
mod dispatch;
mod endpoint;
pub mod envelope;
mod error;
mod failure;
pub mod fault;
pub mod headers;
mod health;
mod host;
pub mod idempotency;
mod iso8601;
mod lanes;
mod message;
pub mod middleware;
mod moving;
mod names;
mod observer;
mod outbound;
mod outgoing;
mod panics;
mod pause;
mod plan;
mod policy;
mod publish_topology;
mod receiver;
mod reply;
mod request;
mod request_error;
mod runner;
mod send_error;
mod sending;
mod sent_ids;
pub mod serde_helpers;
mod slots;
mod start_error;
mod stop;
pub mod topology;
mod trace;
pub mod transport;
mod troubles;
mod validation;

pub use address::{Address, InvalidAddress};
pub use async_trait::async_trait;
pub use builder::BusBuilder;
pub use bus::{Bus, EndpointHandle, StopTimeout};
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
pub use headers::{HeaderName, HeaderValue, Headers};
pub use health::{BusHealth, EndpointHealth};
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
pub use sending::{SendFuture, Sending};
pub use start_error::{Mistakes, StartError};
pub use trace::TraceContext;
