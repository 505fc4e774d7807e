//! Services that are killed or frozen at a point of their work.
//!
//! The program has a [`Point`]; its test starts each [`Life`] of it, keeps the [`Ledger`] of what
//! was sent to it, and listens to what it sends with an [`Audit`].

mod audit;
mod ledger;
mod life;
mod point;

pub use audit::{Arrival, Audit};
pub use ledger::Ledger;
pub use life::Life;
pub(crate) use life::state;
pub use point::Point;

/// Numbers that follow each other by this much have keys of their own.
const KEYED_APART: u32 = 1000;

/// Keys of such a range.
const KEYS: u32 = 3;

/// The ordering key of a message.
pub fn ordering_key(number: u32) -> String {
    format!("key {}-{}", number / KEYED_APART, number % KEYS)
}
