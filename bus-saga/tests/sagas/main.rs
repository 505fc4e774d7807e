//! Sagas: their machines without a bus, and on one in memory.

#![allow(clippy::unwrap_used)]

mod order;

mod composites;
mod concurrency;
mod correlation;
mod diagrams;
mod failures;
mod machine;
mod mistakes;
mod orders;
mod requests;
mod rows;
