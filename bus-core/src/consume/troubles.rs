//! Obstacles to the messages of an endpoint, reported in its health.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::transport::Health;

/// The troubles of one endpoint.
///
/// Empty, and not looked at, as long as there are none.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    all: Mutex<BTreeMap<String, Suffering>>,
    changes: watch::Sender<()>,
}

/// Number of messages that suffer from a trouble, and the latest reason.
#[derive(Debug)]
struct Suffering {
    messages: usize,
    reason: String,
}

/// Mark of a message that is in trouble, as long as this lives.
#[derive(Debug)]
#[must_use = "the trouble is over when it is dropped"]
pub(crate) struct Trouble {
    troubles: Arc<Troubles>,
    what: String,
    is_first: bool,
}

impl Troubles {
    /// Notes that one message suffers from a trouble.
    ///
    /// `what` follows the number of messages, as in `cannot be moved to …`.
    pub(crate) fn note(self: &Arc<Self>, what: impl Into<String>, reason: String) -> Trouble {
        let what = what.into();
        let mut all = self.all();
        let mut is_first = false;
        if let Some(suffering) = all.get_mut(&what) {
            suffering.messages += 1;
            suffering.reason = reason;
        } else {
            is_first = true;
            let messages = 1;
            all.insert(what.clone(), Suffering { messages, reason });
        }
        drop(all);
        if is_first {
            self.changes.send_replace(());
        }
        Trouble {
            troubles: Arc::clone(self),
            what,
            is_first,
        }
    }

    /// Returns the health: degraded if any message suffers, with how many and why.
    pub(crate) fn health(&self) -> Health {
        let texts: Vec<_> = self
            .all()
            .iter()
            .map(|(what, Suffering { messages, reason })| {
                let noun = if *messages == 1 {
                    "message"
                } else {
                    "messages"
                };
                format!("{messages} {noun} {what}: {reason}")
            })
            .collect();
        if texts.is_empty() {
            Health::Up
        } else {
            Health::Degraded(texts.join("; "))
        }
    }

    /// Returns a receiver that is notified when a trouble begins or is over.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Notifies the receivers of changes, as something beside the troubles has changed.
    pub(crate) fn notify(&self) {
        self.changes.send_replace(());
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Suffering>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trouble {
    /// Returns `true` if no other message had the trouble when this one got it.
    pub(crate) fn is_first(&self) -> bool {
        self.is_first
    }

    /// Replaces the reason of the same trouble.
    pub(crate) fn because(&self, reason: String) {
        if let Some(suffering) = self.troubles.all().get_mut(&self.what) {
            suffering.reason = reason;
        }
    }
}

impl Drop for Trouble {
    fn drop(&mut self) {
        let mut all = self.troubles.all();
        if let Some(suffering) = all.get_mut(&self.what) {
            suffering.messages -= 1;
            if suffering.messages == 0 {
                all.remove(&self.what);
                self.troubles.changes.send_replace(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_lasts_as_long_as_a_message_has_it() {
        let troubles = Arc::new(Troubles::default());
        assert_eq!(troubles.health(), Health::Up);
        let first = troubles.note("cannot be moved to `q_error`", "it is full".into());
        let second = troubles.note("cannot be moved to `q_error`", "it is gone".into());
        assert!(first.is_first() && !second.is_first(), "said once");
        let text = "2 messages cannot be moved to `q_error`: it is gone";
        assert_eq!(troubles.health(), Health::Degraded(text.into()));
        drop(first);
        second.because("it is full again".into());
        let text = "1 message cannot be moved to `q_error`: it is full again";
        assert_eq!(troubles.health(), Health::Degraded(text.into()));
        drop(second);
        assert_eq!(troubles.health(), Health::Up);
    }
}
