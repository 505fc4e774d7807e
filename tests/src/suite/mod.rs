//! The behaviours, a file for each theme.

pub mod bad_input;
pub mod blanks;
pub mod claims;
pub mod codecs;
pub mod concurrency;
pub mod configuration;
pub mod error_queue;
pub mod evolution;
pub mod faults;
pub mod foreign_replies;
pub mod idempotency;
pub mod inheritance;
pub mod instances;
pub mod observing;
pub mod outbox;
pub mod propagation;
pub mod publishing;
pub mod queues;
pub mod refusals;
pub mod requests;
pub mod retrying;
pub mod routing;
pub mod sending;
pub mod shutdown;
pub mod skipping;
pub mod unanswered;
