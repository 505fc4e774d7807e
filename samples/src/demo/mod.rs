//! All services at once, with counts of everything that happens.
//!
//! - [`Options`]: what the demo is asked to do.
//! - `business`: the services, several instances of each, every instance on a bus and a connection of its own.
//! - `run`: what the client does, in order.
//! - [`Report`]: the figures, and whether they agree.

mod apart;
mod business;
mod medium;
mod options;
mod progress;
mod report;
mod run;
mod table;
mod tally;
mod unreliable;

pub use options::Options;
pub use report::Report;
pub use run::{DemoError, run};
