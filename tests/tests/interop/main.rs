//! Ours and a real MassTransit on one broker, each direction by itself.
//!
//! `make interop` runs this where the program in `tests/interop/` is built.

mod chain;
mod contracts;
mod error_queues;
mod events;
mod faults;
mod headers;
mod later;
mod load;
mod queues;
mod replies;
mod requests;
mod slips;
mod stock;
mod support;
mod unreadable;
mod values;
