//! Typed contracts, consumers and pipelines of a service bus, without a broker.
//!
//! ```text
//!  publish ─► Sending ─► Dispatch ─────────────► Transport::send ─► broker
//!                          ▲  │ outbox: hold                        │
//!                          │  ▼                                     ▼
//!  consumer ◄─ Middleware… ◄─ pipeline ◄── Delivery ◄── Listener::next
//!                                  │ ok: ack   │ failed: Fault + <queue>_error, then ack
//! ```
//!
//! A bus runs on a [transport](transport::Transport): `bus-rabbitmq` in production, `bus-inmemory`
//! in tests. `bus-sql` joins it to the transactions of a database.
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
//! | [`Envelope`](message::Envelope) | what travels: ids, addresses, headers, body |
//! | [`Bus`], [`BusBuilder`] | builds, starts, publishes, sends, asks, stops |
//! | [`Endpoint`] | a queue, its consumers, and what runs around them |
//! | [`Consumer`], [`ConsumeContext`] | what a user writes, and one message being consumed |
//! | [`BatchConsumer`](batch::BatchConsumer) | consumes many messages as one |
//! | [`Middleware`], [`Retry`], [`Idempotency`] | before, after, again, or not at all |
//! | [`RateLimit`], [`KillSwitch`] | how fast an endpoint takes messages, and when it takes none |
//! | [`Sending`](send::Sending), [`Requesting`](request::Requesting) | a message or request about to leave |
//! | [`Sender`](send::Sender) | a handle that sends outside of a consumer |
//! | [`BackgroundService`](background::BackgroundService) | work beside the endpoints |
//! | [`UnitOfWork`](consume::UnitOfWork) | work of an attempt that is committed with what it sends |
//! | [`Fault`] | what is left when consuming failed |
//! | [`Observer`](observe::Observer) | callbacks around sends, consumers and deliveries |
//! | [`transport`] | the seam to a broker |
//!
//! # Guarantees
//!
//! - A publish or send that returns `Ok` is owned by the broker; inside a consumer, it is held
//!   until the consumer succeeds.
//! - A delivery is acknowledged after its consumer has succeeded and everything that it sent is
//!   confirmed, or kept by its unit of work.
//! - A consumer that fails has sent nothing, unless it said `immediately()`.
//! - A failed message ends in `<queue>_error`, byte for byte; its fault goes to its fault address
//!   or requester, or is published.
//! - A broker that is away is waited for; no consumer runs again because its output waits.
//!
//! # Non-guarantees
//!
//! - A message may come twice: after a crash, a lost connection, or a confirm that was lost.
//!   Exactly once is an effect of idempotent consumers, never a delivery.
//! - Order is that of the queue at a concurrency of 1 only, or within the keys of
//!   [`Policy::partition`].
//! - The outbox of this crate is in memory. What a transaction of a database has committed stays
//!   when the message comes again, unless its [unit of work](consume::UnitOfWork) recognizes it, as
//!   that of `bus-sql` does.
//!
//! | feature | brings | default |
//! |---|---|---|
//! | `macros` | `#[derive(Message)]`, `#[derive(Reply)]`, `#[consumers]` | yes |

#![cfg_attr(docsrs, feature(doc_cfg))]

// The derive writes `::bus_core`, also for the messages of this crate.
extern crate self as bus_core;

pub mod background;
pub mod batch;
mod bus;
pub mod codec;
pub mod consume;
mod endpoint;
pub mod error;
pub mod flow;
pub mod idempotency;
pub mod message;
pub mod middleware;
pub mod observe;
mod receive;
pub mod request;
pub mod send;
pub mod serde_helpers;
pub mod topology;
pub mod transport;

pub use async_trait::async_trait;
pub use bus::builder::BusBuilder;
pub use bus::{Bus, EndpointHandle};
#[cfg(feature = "macros")]
pub use bus_macros::{Message, Reply};
pub use consume::consumer::{Consumer, RawMessage};
pub use consume::context::ConsumeContext;
pub use endpoint::{Endpoint, Policy};
pub use error::consume::{ConsumeError, ConsumeResult};
pub use error::fault::Fault;
pub use error::send::SendError;
pub use error::start::StartError;
pub use flow::{KillSwitch, RateLimit};
pub use message::contract::Message;
#[doc(hidden)]
pub use message::derive_support;
pub use message::headers::Headers;
pub use middleware::deduplicate::Idempotency;
pub use middleware::next::{Middleware, Next};
pub use middleware::retry::Retry;
pub use request::error::RequestError;
pub use request::reply::Reply;
pub use transport::address::{Address, queue};
