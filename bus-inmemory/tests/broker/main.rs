//! The broker's rules, seen through the transport seam.

// The exemption of tests reaches only functions that are tests themselves.
#![allow(clippy::unwrap_used)]

mod connections;
mod consumers;
mod declarations;
mod queues;
mod routing;
mod subscriptions;
mod support;
mod timers;
