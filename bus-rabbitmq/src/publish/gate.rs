//! Separation of messages into batches after the broker refused one.
//!
//! The broker names no message when it closes a channel. So after a refusal, those that may be the
//! cause go out in batches, and the next batch waits until the last one is confirmed:
//!
//! ```text
//!  batch 0      messages that nothing is known of: no wait among them
//!  batch n      those that were read before, together
//!  batch n + 1  a suspect, alone
//!  batch n + 2  another suspect, alone
//! ```
//!
//! If a channel is closed while a suspect is alone on it, that one is the cause. Where the whole
//! connection was closed, the other channels of the connection have to be silent as well:
//!
//! ```text
//!  No ──► Wanted ──► AskedFor ──► Yes ──► No
//!  a suspect waits   the task     the lock   no suspect is left
//!                    asks for     is held
//!                    the lock
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::pending::{PendingPublish, Scope, Standing};
use super::unconfirmed::Unconfirmed;

/// Time after a refusal for which a batch waits for the confirms of the last.
///
/// A quorum queue without its majority confirms nothing for as long as that lasts; other targets
/// must not wait for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// Lets batches of messages through one after the other.
///
/// A batch begins when no message of the last one is on its way. So messages that the broker has
/// read before it refused another one are confirmed before a further refusal can cause them to be
/// sent once more, and a suspect is sent alone. A queue that confirms nothing holds this up for a
/// limited time only.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Batch that is on its way; 0 is that of all messages that nothing is known of.
    batch: u64,
    /// Number of the last batch that was given out.
    batches: u64,
    /// End of the waits between batches; `None` before the first refusal.
    patience: Option<Instant>,
    solitude: Solitude,
}

/// The claim that no other channel of the connection sends a suspect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Solitude {
    #[default]
    No,
    Wanted,
    AskedFor,
    Yes,
}

impl Gate {
    /// Returns `true` if a message may be written now.
    ///
    /// A suspect that was not confirmed within [`PATIENCE`] still holds up the next batch, unless
    /// the broker is known to have read it: only then is it innocent of what comes next.
    pub(crate) fn lets(&mut self, pending: &PendingPublish, unconfirmed: &Unconfirmed) -> bool {
        if pending.standing == Standing::Suspect(Scope::Connection)
            && self.solitude != Solitude::Yes
        {
            if self.solitude == Solitude::No {
                self.solitude = Solitude::Wanted;
            }
            return false;
        }
        if pending.batch == self.batch || unconfirmed.awaited() == 0 {
            return true;
        }
        let is_over = self.patience.is_none_or(|end| Instant::now() >= end);
        is_over && !unconfirmed.has_suspect()
    }

    /// Notes that a message is written.
    pub(crate) fn passed(&mut self, pending: &PendingPublish) {
        self.batch = pending.batch;
    }

    /// Starts the wait between batches, as a message was refused.
    pub(crate) fn begin(&mut self) {
        self.patience = Some(Instant::now() + PATIENCE);
    }

    /// Returns the number of a new batch.
    pub(crate) fn next_batch(&mut self) -> u64 {
        self.batches += 1;
        self.batches
    }

    /// Returns `true`, once, if other channels have to be asked to wait.
    pub(crate) fn seeks_solitude(&mut self) -> bool {
        let seeks = self.solitude == Solitude::Wanted;
        if seeks {
            self.solitude = Solitude::AskedFor;
        }
        seeks
    }

    /// Notes that the other channels wait.
    pub(crate) fn is_alone(&mut self) {
        self.solitude = Solitude::Yes;
    }

    /// Returns `true` while other channels have to wait.
    pub(crate) fn needs_solitude(&self) -> bool {
        self.solitude != Solitude::No
    }

    /// Notes that there are no suspects any more.
    pub(crate) fn leave_solitude(&mut self) {
        if self.solitude == Solitude::Yes {
            self.solitude = Solitude::No;
        }
    }

    /// Drops a request for solitude that was made on a lost connection.
    pub(crate) fn disconnect(&mut self) {
        if self.solitude != Solitude::Yes {
            self.solitude = Solitude::No;
        }
    }
}
