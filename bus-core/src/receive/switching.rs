//! The kill switch of an endpoint: what counts for it, and what it does.

use super::outcome::{Outcome, Undone};
use super::receiver::Receiver;
use crate::error::{ConsumeError, FailureKind};
use crate::flow::{Switch, Trip};
use crate::transport::Health;

impl Receiver {
    /// Counts the outcome of a delivery; too many failures pause the endpoint.
    pub(super) fn count(&self, outcome: &Outcome<'_>) {
        let Some(switch) = &self.switch else { return };
        let has_passed_trial = match outcome {
            Outcome::Done { .. } => switch.succeed(),
            Outcome::Undone(Undone::Failed { error, .. }) if self.is_failure(error) => {
                if switch.counts(error) {
                    switch
                        .fail(error)
                        .into_iter()
                        .for_each(|trip| self.trip(trip));
                    return;
                }
                switch.succeed()
            }
            Outcome::Undone(_) => false,
        };
        if has_passed_trial {
            tracing::info!(endpoint = %self.endpoint.name, "the trial has passed; messages are handled as usual");
            self.endpoint.control.set_trial(false);
            self.endpoint.troubles.notify();
        }
    }

    /// Returns `true` unless the message comes again for a reason that is not its own.
    fn is_failure(&self, error: &ConsumeError) -> bool {
        let is_put_off = matches!(error.kind(), FailureKind::Deferred | FailureKind::ClaimLost);
        !is_put_off && !error.is_unavailable() && !self.is_cut_short(error)
    }

    fn trip(&self, trip: Trip) {
        let Trip { wait, reason } = &trip;
        tracing::warn!(endpoint = %self.endpoint.name, ?wait, reason, "the kill switch has tripped; the endpoint pauses");
        self.endpoint.control.trip(trip);
    }

    /// Handles one message at a time from now on, if the switch has tripped.
    ///
    /// No message is handled now.
    pub(super) fn begin_trial(&self) {
        let is_on_trial = self.switch.as_ref().is_some_and(Switch::restart);
        self.endpoint.control.set_trial(is_on_trial);
    }

    /// Returns the health that follows from the kill switch.
    pub(super) fn trial(&self) -> Health {
        if self.switch.as_ref().is_some_and(Switch::is_on_trial) {
            let why = "the kill switch had tripped; one message at a time is handled until ten have succeeded";
            return Health::Degraded(why.to_owned());
        }
        Health::Up
    }
}
