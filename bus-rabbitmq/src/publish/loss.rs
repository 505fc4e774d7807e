//! Treatment of the messages that were on their way on a lost channel.
//!
//! The broker reads a channel in order, and closes it at the first message that it cannot take
//! (`channel.close`, or `connection.close` for a frame that it cannot read): what was written
//! before that one has been read, what was written after it is discarded. If the broker's words fit
//! a message, that one is the culprit. If they fit none, each message that may be the cause is sent
//! again alone, until it is confirmed or proves to be the cause.
//!
//! ```text
//!  order of writing:     1        2        3        4        5
//!  words fit:                              ×
//!  lasting reason:     Cleared  Cleared  Culprit  Unread   Unread
//!  words fit:                     ×                 ×
//!  missing exchange:   Cleared  Culprit  Unsure   Culprit  Unread
//!  words fit none:     Suspect  Suspect  Suspect  Suspect  Suspect
//! ```
//!
//! Without a reason of the broker (the connection was cut) every message may have arrived, and all
//! are sent again in order.

use bus_core::transport::Target;

use super::gate::Gate;
use super::pending::{PendingPublish, PendingPublishes, Scope, Standing};
use super::refusal::Refusal;
use super::unconfirmed::Lost;

/// Number of closings of a connection that prove a lone message the cause.
///
/// It was alone on its channel, but other channels share the connection.
const MAX_STRIKES: u32 = 3;

/// Outcome of the loss of a channel.
pub(crate) struct Settled {
    /// Messages to send again, each with its batch.
    pub(crate) again: PendingPublishes,
    /// Targets of the messages that the broker refused.
    pub(crate) refused: Vec<Target>,
    /// `true` if the message that caused the loss was found.
    pub(crate) found: bool,
}

/// Finding about one message after a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// A message that the broker refused, or would have refused.
    ///
    /// Of several, an earlier one may have been taken.
    Culprit { perhaps_taken: bool },
    /// Message that the broker has read without closing the channel.
    Cleared,
    /// Message that the broker may have read.
    Unsure,
    /// The cause, or one of several candidates.
    Suspect,
    /// Message that the broker has not read.
    ///
    /// Sending it again cannot make a duplicate, unless an earlier write did.
    Unread,
}

impl Lost {
    /// Ends the culprits; returns the messages to send again, with their batches.
    pub(crate) fn settle(mut self, refusal: Option<&Refusal>, gate: &mut Gate) -> Settled {
        let mut settled = Settled {
            again: PendingPublishes::new(),
            refused: Vec::new(),
            found: false,
        };
        let Some(refusal) = refusal else {
            settled.again.extend(self.confirmed);
            settled.again.extend(self.unconfirmed);
            for pending in &mut settled.again {
                pending.may_have_arrived = true;
            }
            settled.again.retain(|pending| !pending.is_expired());
            return settled;
        };
        let fates = by_words(&self.unconfirmed, refusal)
            .unwrap_or_else(|| by_elimination(&mut self.unconfirmed, refusal));
        gate.begin();
        // What may have been read already is confirmed before the broker can meet another culprit.
        let together = gate.next_batch();
        let read = self.confirmed.into_iter();
        let read = read.zip(std::iter::repeat(Fate::Cleared));
        for (mut pending, fate) in read.chain(self.unconfirmed.into_iter().zip(fates)) {
            pending.may_have_arrived |= fate.may_have_arrived();
            let is_suspect = matches!(pending.standing, Standing::Suspect(_));
            match fate {
                Fate::Culprit { .. } => {
                    pending.batch = together;
                    settled.convict(pending, refusal);
                    continue;
                }
                Fate::Suspect => suspect(&mut pending, refusal.scope(), gate),
                Fate::Cleared => (pending.standing, pending.batch) = (Standing::Cleared, together),
                // A suspect stays one.
                Fate::Unsure | Fate::Unread if is_suspect => {}
                Fate::Unsure => pending.batch = together,
                Fate::Unread => pending.batch = 0,
            }
            settled.send_again(pending);
        }
        settled
    }
}

impl Settled {
    /// Ends the message that the broker refused, unless its exchange is declared again.
    fn convict(&mut self, mut pending: Box<PendingPublish>, refusal: &Refusal) {
        self.found = true;
        self.refused.push(pending.outgoing.target.clone());
        if is_declared_again(&mut pending, refusal) {
            self.send_again(pending);
        } else {
            let error = refusal.error(&pending);
            pending.finish(Err(error));
        }
    }

    /// Keeps a message for another write, unless its sender has its outcome already.
    ///
    /// A message whose deadline has passed was reported as one that may have arrived.
    fn send_again(&mut self, pending: Box<PendingPublish>) {
        if !pending.is_expired() {
            self.again.push_back(pending);
        }
    }
}

impl Fate {
    /// Returns `true` if the message may be in a queue.
    ///
    /// Another write of it may make a duplicate then.
    fn may_have_arrived(self) -> bool {
        match self {
            Self::Culprit { perhaps_taken } => perhaps_taken,
            Self::Cleared | Self::Unsure | Self::Suspect => true,
            Self::Unread => false,
        }
    }
}

/// Makes a message a suspect, alone in its batch.
///
/// One that once made the broker close a connection is suspected of that from then on.
fn suspect(pending: &mut PendingPublish, scope: Scope, gate: &mut Gate) {
    let scope = match pending.standing {
        Standing::Suspect(before) => scope.max(before),
        Standing::Plain | Standing::Cleared => scope,
    };
    pending.standing = Standing::Suspect(scope);
    pending.batch = gate.next_batch();
}

/// Judges messages by the broker's words; `None` if they fit none.
///
/// Several messages may fit, such as all those to a missing exchange.
fn by_words(messages: &PendingPublishes, refusal: &Refusal) -> Option<Vec<Fate>> {
    let fits: Vec<bool> = messages
        .iter()
        .map(|pending| refusal.fits(pending))
        .collect();
    let first = fits.iter().position(|fits| *fits)?;
    let last = fits.iter().rposition(|fits| *fits)?;
    // If the reason lasts, the broker stopped at the first one; else, at any of them.
    let latest = if refusal.is_lasting() { first } else { last };
    let fate = |(index, fits)| match fits {
        true => Fate::Culprit {
            perhaps_taken: index < latest,
        },
        false if index < first => Fate::Cleared,
        false if index < latest => Fate::Unsure,
        false => Fate::Unread,
    };
    Some(fits.into_iter().enumerate().map(fate).collect())
}

/// Judges messages by eliminating those that the broker is known to have read.
///
/// If it is known to have read all of them, that rules none out, and all are suspects again.
fn by_elimination(messages: &mut PendingPublishes, refusal: &Refusal) -> Vec<Fate> {
    let is_candidate = |pending: &PendingPublish| pending.standing != Standing::Cleared;
    let candidates = messages
        .iter()
        .filter(|pending| is_candidate(pending))
        .count();
    let fate = |pending: &mut Box<PendingPublish>| {
        if candidates > 0 && !is_candidate(pending) {
            return Fate::Cleared;
        }
        let is_alone = candidates == 1 && is_convicted(pending, refusal);
        if is_alone {
            Fate::Culprit {
                perhaps_taken: false,
            }
        } else {
            Fate::Suspect
        }
    };
    messages.iter_mut().map(fate).collect()
}

/// Returns `true` if the only candidate left on its channel is the cause.
fn is_convicted(pending: &mut PendingPublish, refusal: &Refusal) -> bool {
    match (refusal.scope(), pending.standing) {
        (Scope::Channel, _) => true,
        (Scope::Connection, Standing::Suspect(Scope::Connection)) => {
            pending.strikes += 1;
            pending.strikes >= MAX_STRIKES
        }
        (Scope::Connection, _) => false,
    }
}

/// Returns `true`, once per message, if we declare the missing exchange.
fn is_declared_again(pending: &mut PendingPublish, refusal: &Refusal) -> bool {
    let is_ours = match &pending.outgoing.target {
        Target::Exchange { topology, .. } => topology.is_some(),
        Target::Queue(_) => true,
        Target::Inbox(_) => false,
    };
    let again = refusal.is_missing() && is_ours && !pending.was_declared_again;
    pending.was_declared_again |= again;
    again
}
