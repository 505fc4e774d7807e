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
//! - `Ok` from a publish or send means that the broker has confirmed the message.
//! - A message whose confirm was lost with its connection is sent again with the same id: it may
//!   arrive twice.
//! - A delivery is acknowledged on the channel that it came from, or not at all; then it is
//!   delivered again.
//! - Credentials appear in no log line, error, address or `Debug` text of this crate. The client
//!   below it writes raw frames to the log at level `trace`: keep `lapin` and `amq_protocol` above
//!   that level in production.
//!
//! # Non-guarantees
//!
//! - Messages of several publishing tasks have no order among each other.
//! - A transient message or queue is gone when the broker restarts.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod config;
mod connection;
mod consume;
mod convert;
mod error;
mod publish;
mod running;
mod tls;
mod topology;
mod transport;

pub use tls::Tls;
pub use transport::RabbitMq;
