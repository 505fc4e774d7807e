//! Idempotency store of the service bus on Redis.
//!
//! ```text
//!  instance ─┐                        ┌─ <prefix><endpoint>/<key>: fingerprint, claim, until, replies
//!  instance ─┼─ RedisIdempotencyStore ┤
//!  instance ─┘   one script a call    └─ expires by itself
//! ```
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint, Idempotency, Message};
//! use bus_redis::RedisIdempotencyStore;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, Message)]
//! #[message("Payments:Collect")]
//! struct Collect {
//!     invoice: String,
//! }
//!
//! async fn collect(ctx: ConsumeContext<Collect>) -> ConsumeResult {
//!     println!("collecting {}", ctx.message().invoice);
//!     Ok(())
//! }
//!
//! # async fn start(transport: impl bus_core::transport::Transport) -> Result<(), Box<dyn std::error::Error>> {
//! let store = RedisIdempotencyStore::new("redis://:secret@redis.internal")?;
//! let once = Idempotency::new(store).keep(Duration::from_secs(7 * 24 * 60 * 60));
//! let endpoint = Endpoint::new("payments").idempotency(once).consumer(collect);
//! let bus = Bus::builder(transport).endpoint(endpoint).start().await?; // connects to Redis too
//! # bus.shutdown().await?;
//! # Ok(()) }
//! ```
//!
//! # Guarantees
//!
//! - Of racing instances one gets a key: each call is one script, which compares the claim.
//! - Times are those of the server. No clock of an instance is ever sent.
//! - While Redis is away nothing is consumed and nothing acknowledged: deliveries wait. A claim
//!   outlives an outage that is longer than its lease if no other owner takes the key, up to an
//!   hour.
//! - A lost connection is noticed by the call that meets it, which runs again once; a server that
//!   does not answer within the timeout gets a new connection.
//! - User and password appear in no log line, error or `Debug` text of this crate.
//!
//! # Non-guarantees
//!
//! - A consumer that is killed after its effect and before its key is marked as done runs again:
//!   no store without a transaction around both can prevent that.
//! - A key that Redis forgets is handled again. That is up to a second of keys where a machine
//!   crashes with `appendfsync everysec`, what a replica had not received at a fail-over, any key
//!   where `maxmemory-policy` is not `noeviction`, and all since the last snapshot without
//!   append-only file. The store warns of the last two when it connects.
//! - Redis Cluster is not supported: name a single primary.
//!
//! | feature | adds |
//! |---|---|
//! | `tls` | addresses `rediss://`, with rustls; authorities of the system, or those of `ca_file` |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod connection;
mod error;
mod inspection;
mod scripts;
mod store;
#[cfg(feature = "tls")]
mod tls;

pub use error::{RedisStoreError, RedisStoreErrorKind};
pub use store::RedisIdempotencyStore;
