//! RabbitMQ transport of the service bus, over AMQP 0-9-1.
//!
//! ```text
//!  Bus ──► RabbitMq ──┬─ publish connection ─┬─ confirm channel            exchanges, queues
//!                     │                      └─ confirm channel (replies)
//!                     └─ consume connection ─── a channel for each endpoint
//! ```
//!
//! ```no_run
//! use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint, Message};
//! use bus_rabbitmq::RabbitMq;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, Message)]
//! #[message("Invoicing:InvoiceCreated")]
//! struct InvoiceCreated {
//!     number: String,
//! }
//!
//! async fn collect(ctx: ConsumeContext<InvoiceCreated>) -> ConsumeResult {
//!     println!("invoice {}", ctx.message().number);
//!     Ok(())
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let bus = Bus::builder(RabbitMq::new("amqp://localhost"))
//!         .endpoint(Endpoint::new("payment-service").consumer(collect))
//!         .start()
//!         .await?;
//!     bus.publish(&InvoiceCreated { number: "A-7".into() }).await?;
//!     bus.shutdown().await?;
//!     Ok(())
//! }
//! ```
//!
//! # Guarantees
//!
//! - `Ok` from a publish or send means that the broker has confirmed the message: every queue that
//!   it was routed to owns it, a quorum queue on a majority of its nodes.
//! - A message whose confirm was lost with its connection is sent again with the same id: it may
//!   arrive twice.
//! - A delivery is acknowledged on the channel that it came from, or not at all; then it is
//!   delivered again.
//! - Messages to one exchange or queue leave in the order in which they were handed over. After a
//!   negative acknowledgement, those that were on their way with the refused one may overtake it.
//! - Lost connections, channels, subscriptions and exchanges are made again, without an error for
//!   callers that can wait: a send waits until its deadline, a consumer until it is stopped.
//! - Credentials appear in no log line, error, address or `Debug` text of this crate. The client
//!   below it writes raw frames to the log at level `trace`: keep `lapin` and `amq_protocol` above
//!   that level in production.
//!
//! # Non-guarantees
//!
//! - Messages of several publishing tasks have no order among each other.
//! - A transient message or queue is gone when the broker restarts.
//! - A classic queue is not replicated: it confirms and delivers nothing while its node is away.
//!
//! # Delayed delivery
//!
//! A message with a delay waits in quorum queues `bus.delay.v1.level-…`, one for each binary digit
//! of its wait: no plugin, waits of 1 s to 8 years in whole seconds, late but never early or lost
//! after an outage. RabbitMQ 3.10 or later is needed. A command goes into its queue directly then,
//! an event to the exchange of its type. A queue that is gone by then leaves its messages in
//! `bus.delay.v1.undeliverable`; one that refuses messages
//! ([`Overflow::RejectPublish`](bus_core::topology::Overflow::RejectPublish)) holds up the delayed
//! messages of others. A message to an exchange that reads routing keys is refused, and one that
//! waits cannot be cancelled. Its time to live does not count in its queue, and the wish that an
//! event is [`mandatory`](bus_core::send::Sending::mandatory) has no effect.
//!
//! # Permissions
//!
//! The user needs `configure` on the exchanges and queues that it declares, `write` on what it
//! publishes to and on the queues that it binds, `read` on what it consumes and on the exchanges
//! that it binds to. Replies go through the default exchange, so they need `write` on
//! `amq.default`. Where a `configure` permission is missing, what exists already is used as it is,
//! if its presence allows that.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod config;
mod connection;
mod consume;
mod convert;
mod delay;
mod error;
mod publish;
mod running;
mod tls;
mod topology;
mod transport;

pub use tls::Tls;
pub use transport::RabbitMq;
