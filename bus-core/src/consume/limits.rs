//! Limits of an endpoint, as they are set now.

use super::slots::Slots;
use crate::error::LimitError;

/// Limits of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) concurrency: usize,
    pub(crate) prefetch: u16,
}

/// The limits that are set, and whether they hold.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) limits: Limits,
    /// `true` while one message at a time is handled, for any limits.
    is_on_trial: bool,
}

impl Current {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            is_on_trial: false,
        }
    }

    pub(super) fn change(
        &mut self,
        slots: &Slots,
        change: impl FnOnce(&mut Limits),
    ) -> Result<(), LimitError> {
        let mut limits = self.limits;
        change(&mut limits);
        if limits.concurrency > limits.prefetch.into() {
            return Err(LimitError::PrefetchBelowConcurrency {
                prefetch: limits.prefetch,
                concurrency: limits.concurrency,
            });
        }
        self.limits = limits;
        self.apply_to(slots);
        Ok(())
    }

    pub(super) fn set_trial(&mut self, slots: &Slots, is_on_trial: bool) {
        if self.is_on_trial != is_on_trial {
            self.is_on_trial = is_on_trial;
            self.apply_to(slots);
        }
    }

    fn apply_to(&self, slots: &Slots) {
        let limit = if self.is_on_trial {
            1
        } else {
            self.limits.concurrency
        };
        slots.resize(limit, self.limits.prefetch);
    }
}
