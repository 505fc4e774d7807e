//! Outcomes of deliveries.

use std::sync::Arc;

use crate::consume::{AnyMessage, Registration};
use crate::error::ConsumeError;
use crate::observe::ReceiveOutcome;

/// Outcome of a delivery.
pub(super) enum Outcome<'a> {
    Done { message: Arc<AnyMessage> },
    Undone(Undone<'a>),
}

/// Outcome of a delivery that has not succeeded.
pub(super) enum Undone<'a> {
    Skipped,
    Failed {
        error: ConsumeError,
        by: Option<&'a Registration>,
        message: Option<Arc<AnyMessage>>,
    },
}

impl Outcome<'_> {
    /// Creates the outcome of a message that no process has come to an end with.
    pub(super) fn set_aside(deliveries: u32) -> Self {
        let error = ConsumeError::permanent(format!(
            "the message was delivered {deliveries} times without an end, so its consumer may be what ends the process; \
             it was not called again"
        ));
        Self::Undone(Undone::of(error, None))
    }

    pub(super) fn message(&self) -> Option<&AnyMessage> {
        match self {
            Self::Done { message } => Some(&**message),
            Self::Undone(Undone::Failed { message, .. }) => message.as_deref(),
            Self::Undone(Undone::Skipped) => None,
        }
    }

    pub(super) fn observed(&self, settled: bool, is_duplicate: bool) -> ReceiveOutcome<'_> {
        match self {
            Self::Done { .. } if is_duplicate => ReceiveOutcome::Duplicate,
            Self::Done { .. } => ReceiveOutcome::Handled,
            Self::Undone(Undone::Failed { error, .. }) if settled => ReceiveOutcome::Faulted(error),
            Self::Undone(Undone::Failed { error, .. }) => ReceiveOutcome::Requeued(Some(error)),
            Self::Undone(Undone::Skipped) if settled => ReceiveOutcome::Skipped,
            Self::Undone(Undone::Skipped) => ReceiveOutcome::Requeued(None),
        }
    }
}

impl<'a> Undone<'a> {
    /// Creates the outcome of a message that could not be read.
    pub(super) fn of(error: ConsumeError, by: Option<&'a Registration>) -> Self {
        Self::Failed {
            error,
            by,
            message: None,
        }
    }
}
