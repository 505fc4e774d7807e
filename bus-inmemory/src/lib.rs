//! Service bus transport in the process, with a test harness.
//!
//! ```text
//!             InMemory (a connection each)                one broker
//!  bus A ──── send ────────────────► exchange ─► exchange ─► queue ─┬─► consumers, by priority and in turn
//!  bus B ──── listen ◄── deliveries, prefetched ◄───────────────────┘     │ ack: gone · requeue: back in its place
//!                                                      dead letters ◄─────┘ expired, dropped, returned too often
//!
//!  Harness = a bus + a record of what it did + the count of what is in flight
//! ```
//!
//! # A test
//!
//! One line swaps the transport: production code adds to a [`BusBuilder`](bus_core::BusBuilder),
//! and the test hands it one on a broker of its own.
//!
//! ```
//! use bus_core::{BusBuilder, ConsumeContext, ConsumeResult, Endpoint, Message};
//! use bus_inmemory::Harness;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, Message)]
//! #[message("Invoicing:CreateInvoice")]
//! struct CreateInvoice { number: String }
//!
//! #[derive(Serialize, Deserialize, Message)]
//! #[message("Invoicing:InvoiceCreated")]
//! struct InvoiceCreated { number: String }
//!
//! async fn create(ctx: ConsumeContext<CreateInvoice>) -> ConsumeResult {
//!     let number = ctx.message().number.clone();
//!     Ok(ctx.publish(&InvoiceCreated { number }).await?)
//! }
//!
//! fn invoicing(bus: BusBuilder) -> BusBuilder {
//!     bus.route::<CreateInvoice>("queue:invoicing")
//!         .endpoint(Endpoint::new("invoicing").consumer(create))
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let harness = Harness::start(invoicing).await?;
//! harness.bus().send(&CreateInvoice { number: "A-7".into() }).await?;
//!
//! let created = harness.published::<InvoiceCreated>().wait_for(|m| m.number == "A-7").await?;
//! assert!(created.envelope().conversation_id.is_some());
//!
//! harness.quiescent().await;
//! assert_eq!(harness.published::<InvoiceCreated>().count(), 1);
//! assert!(harness.faulted::<CreateInvoice>().none());
//! # Ok(()) }
//! ```
//!
//! # Concepts
//!
//! - [`InMemory`]: one connection to a broker in the process. A clone is another connection to the
//!   same broker; a new one is a new broker.
//! - [`Harness`]: a bus under test. [`Records`] look through its events, a [`Record`] is one such
//!   event.
//! - *Quiescent*: nothing is in flight, so nothing more will happen until a message is sent, or the
//!   clock moves.
//! - *Disorder*: [`Harness::deliver_twice`] and [`Harness::shuffle`] do on demand what happens in
//!   production at times, for tests that show that consumers can take it.
//! - [`Recorder`]: the observer that records a bus which the harness did not start.
//!
//! # Guarantees
//!
//! - The semantics of RabbitMQ, with its names for everything: the same conformance suite runs on
//!   both. Routing, order, prefetch, redelivery, TTL, dead letters, limits, priorities, single
//!   active and exclusive consumers, delivery limits of quorum queues, mandatory messages, and
//!   which redeclarations are refused.
//! - A message is delivered until it is acknowledged: a delivery comes back, in its place, when its
//!   listener, its connection or its receipt is dropped.
//! - Time is tokio's. With a paused clock, hours of retries, TTL and delay take milliseconds.
//! - Nothing runs in the background but one timer, and that only while something is scheduled. A
//!   broker is gone with its last handle.
//!
//! # No guarantees
//!
//! - Nothing survives the process.
//! - There are no streams, no `x-max-length-bytes`, no `CC` and `BCC` headers, and no limits of
//!   memory.
//! - A message of which one queue refuses its copy is in the other queues all the same; RabbitMQ
//!   does that too.
//! - RabbitMQ marks as redelivered what was prefetched by a consumer that left. Here, only pulled
//!   messages are marked and counted, as only they can have been seen.
//! - Dead letters carry no `x-death` headers.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod broker;
mod harness;
mod listener;
mod transport;

pub use harness::{Harness, InFlight, NotQuiescent, NotSeen, Record, Recorder, Records};
pub use transport::InMemory;
