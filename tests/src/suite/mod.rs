//! The behaviours, a file for each theme.

pub mod bad_input;
pub mod codecs;
pub mod evolution;
pub mod faults;
pub mod inheritance;
pub mod instances;
pub mod observing;
pub mod outbox;
pub mod publishing;
pub mod requests;
pub mod retrying;
pub mod routing;
pub mod sending;
pub mod skipping;
