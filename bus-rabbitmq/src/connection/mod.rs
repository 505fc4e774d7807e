//! Supervised connection, made again for as long as the transport lives.
//!
//! ```text
//!  Link ──────── watch ◄── supervise ──► connect (attempt) ──► Live ──► lost
//!  what the         │         ▲                                  │
//!  others hold      ▼         └── back-off, the next host ◄──────┘
//!                State: Down ─► Up ─► Down ─► Up … ─► Closed
//!                       └─► Refused (first attempt only)
//! ```
//!
//! From the broker to the client, each connection is this stack:
//!
//! ```text
//!  TCP ─► TLS ─► Socket: shut from outside ─► Frames + sanitize ─► client
//! ```
//!
//! # Invariants
//!
//! - The client's own recovery is off. It restores connections, but a channel that the broker
//!   closed is final for it, and it knows nothing of our topology.
//! - An attempt that fails, or is dropped, leaves no task, thread or socket of the client behind.
//! - A loss is noticed by an event of the client, a passed heartbeat, a failure that a user of the
//!   link reports ([`Link::suspect`]), or a look each second: the client reports not every end.
//! - A [`Live`] never comes back: what belongs to it (channels, delivery tags, exclusive queues)
//!   ends with it.

mod attempt;
mod client_runtime;
mod foreign;
mod frames;
mod link;
mod live;
mod sanitize;
mod socket;
mod supervisor;
mod waiting;

pub(crate) use foreign::ForeignBytes;
pub(crate) use link::Link;
pub(crate) use live::Live;
pub(crate) use supervisor::Patience;
pub(crate) use waiting::Siblings;
