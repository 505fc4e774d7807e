//! Conformance suite for transports and idempotency stores of the service bus.
//!
//! ```text
//!   suite/*.rs             one async function for each behaviour  ─┐
//!   conformance!           one test for each of them              ─┴─ on one transport: a Stage
//!   idempotency_store!     the same for stores
//! ```
//!
//! A transport joins by implementing [`Stage`] and naming it once in a test target; a store names
//! an expression that makes it. [`support`] has helpers for tests that one broker needs alone.

mod macros;
#[doc(hidden)]
pub mod run;
mod stage;
#[doc(hidden)]
pub mod stores;
#[doc(hidden)]
pub mod suite;
pub mod support;

pub use stage::Stage;
