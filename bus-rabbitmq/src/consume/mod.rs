//! Consumption of a queue, across losses of connection, channel and queue.
//!
//! ```text
//!  Listener::next ◄── Subscription ◄── basic.deliver ◄── one channel ◄── Live
//!                         ▲   │
//!             keep:       │   └──► Receipt ──► Settler ──► AckWindow ──► basic.ack / basic.nack
//!             subscribe again
//! ```
//!
//! # Invariants
//!
//! - Each subscription has a channel and a [`Settler`](settler::Settler) of its own. A delivery tag
//!   means something on its channel only, so a settlement reaches the channel that the delivery
//!   came from, or none; then RabbitMQ has put the message back already.
//! - The end of the client's stream is a loss, with or without an error: a `basic.cancel` of the
//!   broker (the queue was deleted, or its leader moved) ends it without one.
//! - A subscription that was lost is made again until the listener is stopped, also if the broker
//!   refuses it by then. Only the first one may fail.
//! - Qos is set for each consumer (`global: false`); RabbitMQ 4.3 refuses the other kind.

mod ack_window;
mod deliveries;
mod keeper;
mod listener;
mod redeliveries;
mod settler;
mod stream;
mod subscription;

pub(crate) use listener::QueueListener;
