//! Ours and a real MassTransit on one broker, each direction by itself.
//!
//! `make interop` runs this where the program in `interop/` is built.

mod chain;
mod error_queues;
mod events;
mod faults;
mod kinds;
mod load;
mod queues;
mod requests;
mod support;
mod values;
