//! Outcomes of deliveries.

use std::sync::Arc;
use std::time::Duration;

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

    pub(super) fn observed(&self, end: End, is_duplicate: bool) -> ReceiveOutcome<'_> {
        match (self, end) {
            (Self::Done { .. }, _) if is_duplicate => ReceiveOutcome::Duplicate,
            (Self::Done { .. }, _) => ReceiveOutcome::Handled,
            (Self::Undone(Undone::Failed { error, .. }), end) => match end {
                End::Settled => ReceiveOutcome::Faulted(error),
                End::Later(wait) => ReceiveOutcome::Redelivered(error, wait),
                End::GoesBack => ReceiveOutcome::Requeued(Some(error)),
            },
            (Self::Undone(Undone::Skipped), End::GoesBack) => ReceiveOutcome::Requeued(None),
            (Self::Undone(Undone::Skipped), _) => ReceiveOutcome::Skipped,
        }
    }
}

/// End of a delivery.
#[derive(Clone, Copy)]
pub(super) enum End {
    /// Handled, or kept in another queue.
    Settled,
    /// A copy comes after this time; the delivery is settled.
    Later(Duration),
    GoesBack,
}

impl End {
    pub(super) fn of(settled: bool) -> Self {
        if settled {
            Self::Settled
        } else {
            Self::GoesBack
        }
    }

    pub(super) fn is_settled(self) -> bool {
        !matches!(self, Self::GoesBack)
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
