//! Batches: many messages that are consumed as one.
//!
//! ```text
//!  delivery ─► its pipeline ─┐                               ┌─► its outcome ─► retry, ack, fault
//!  delivery ─► its pipeline ─┼─► collector ─► BatchConsumer ─┼─► its outcome
//!  delivery ─► its pipeline ─┘                               └─► its outcome
//! ```
//!
//! Each message has a delivery of its own, with its own idempotency, attempts, outbox and end. Only
//! the call of the consumer is common: [`BatchConsumer`] gets a [`Batch`], and each [`Member`] of
//! it an outcome. [`Batching`] says when a batch is complete.
//!
//! ```
//! use std::time::Duration;
//! use bus_core::batch::{Batch, BatchConsumer, Batching};
//! use bus_core::{ConsumeError, ConsumeResult, Endpoint, Message};
//! use bus_inmemory::Harness;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, Serialize, Deserialize, Message)]
//! #[message("Weather:Reading")]
//! struct Reading { sensor: String, celsius: f64 }
//!
//! struct Readings;
//!
//! impl BatchConsumer<Reading> for Readings {
//!     async fn consume(&self, batch: Batch<Reading>) -> ConsumeResult {
//!         for member in &batch {
//!             if member.message().celsius < -273.15 {
//!                 member.fail(ConsumeError::permanent("colder than possible"));
//!             }
//!         }
//!         // … writes the rest with one statement. Ok: they have succeeded.
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let batching = Batching::of(100).within(Duration::from_secs(1));
//! let endpoint = Endpoint::new("readings").batch(batching, Readings);
//! let harness = Harness::start(|bus| bus.endpoint(endpoint)).await?;
//! for celsius in [21.5, -300.0, 19.0] {
//!     harness.publish(&Reading { sensor: "roof".into(), celsius }).await?;
//! }
//! harness.quiescent().await;
//! assert_eq!(harness.consumed::<Reading>().count(), 2);
//! # harness.shutdown().await?;
//! # Ok(()) }
//! ```
//!
//! # What becomes of a member
//!
//! | the consumer | a member without a decision | on its next attempt |
//! |---|---|---|
//! | returns `Ok` | has succeeded | |
//! | returns an error, or exceeds the timeout | has failed with it | is alone, if it was in company |
//! | returns [`unavailable`](crate::ConsumeError::unavailable) or [`conflict`](crate::ConsumeError::conflict) | runs again, not counted | joins a batch |
//! | panics | has failed for good, as with any panic | |
//!
//! A member that was decided with [`Member::fail`] or [`Member::succeed`] keeps that for any result
//! of the consumer: the failed ones are tried again together, as members of the next batches. An
//! error of the whole may come from any of its members, so that each is tried alone: the healthy
//! ones succeed, and the culprit fails by itself. Without a [retry](crate::Policy::retry) there is
//! no next attempt, and all of them fail.
//!
//! # What runs around it
//!
//! - A member holds a concurrency slot from its delivery on. An endpoint that sets no
//!   [concurrency](crate::Policy::concurrency) has enough for its batches; one that sets too little
//!   is a configuration mistake.
//! - A batch that nothing can join any more does not wait for its time: when the endpoint pauses or
//!   stops, and when all its slots are held by members, as after the concurrency was lowered.
//! - The [timeout](crate::Policy::timeout) is that of a call of the consumer. The time for which a
//!   member waits for others does not count.
//! - A message that has come several times without an end is alone from the start, as it may be
//!   what ends the process.
//! - The order of the members is not that of the queue.

mod collector;
mod consumer;
mod members;
mod registration;
mod run;
mod settings;

pub use consumer::BatchConsumer;
pub use members::{Batch, Member};
pub(crate) use run::CallTimeout;
pub use settings::Batching;
