//! The phases of an endpoint: off, starting, on, leaving, stopped.
//!
//! ```text
//!  New ──► Starting ──► On ──► Leaving ──► Paused ──► Starting …
//!              └─────────────────────────────▲
//!  any ──► Stopped
//! ```

use std::sync::Arc;

use super::worker::Workers;

/// Phase of an endpoint.
#[derive(Clone)]
pub(super) enum Phase {
    /// Not begun yet.
    New,
    Paused,
    /// Starting, by the start of this number.
    Starting(u64),
    On(Arc<Workers>),
    /// Takes no more messages; those that run end.
    Leaving(Arc<Workers>),
    /// Stopped for good.
    Stopped,
}

impl Phase {
    pub(super) fn is_starting(&self, start: u64) -> bool {
        matches!(self, Self::Starting(number) if *number == start)
    }

    pub(super) fn is_leaving(&self, leaving: &Arc<Workers>) -> bool {
        matches!(self, Self::Leaving(lanes) if Arc::ptr_eq(lanes, leaving))
    }
}
