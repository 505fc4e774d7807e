//! Waits before an attempt that was no failure of the message runs again.

use std::time::Duration;

use tokio::time::Instant;

use crate::consume::{ReceiveContext, Trouble, Waits};
use crate::error::{ConsumeError, FailureKind, Shown};

/// Number of times that one attempt runs again because of a conflict.
const MAX_CONFLICTS: u32 = 10;
const FIRST_AFTER_CONFLICT: Duration = Duration::from_millis(2);
const LONGEST_AFTER_CONFLICT: Duration = Duration::from_millis(100);

/// Trouble of messages whose consumers lack something, for the health.
const WAITING: &str = "wait for what their consumers need";
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Time after which a delivery goes back.
/// Brokers end consumers that hold one for too long: RabbitMQ after 30 minutes.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// The repeats of the attempts of one delivery, which count as no retries.
pub(super) struct Repeats<'a> {
    received: &'a ReceiveContext,
    conflicts: Option<(u32, Waits)>,
    absence: Option<Absence>,
}

/// Something that the consumer needs is away, since its first attempt without it.
struct Absence {
    until: Instant,
    waits: Waits,
    trouble: Trouble,
}

impl<'a> Repeats<'a> {
    pub(super) fn new(received: &'a ReceiveContext) -> Self {
        Self {
            received,
            conflicts: None,
            absence: None,
        }
    }

    /// Waits until the attempt is to run again; returns `false` if it has failed.
    ///
    /// # Errors
    /// If the endpoint cancels its consumers.
    pub(super) async fn wait(&mut self, error: &ConsumeError) -> Result<bool, ConsumeError> {
        let kind = error.kind();
        if kind != FailureKind::Unavailable {
            self.absence = None;
        }
        match kind {
            FailureKind::Conflict => self.after_conflict().await,
            FailureKind::Unavailable => Ok(self.while_away(error).await),
            _ => Ok(false),
        }
    }

    /// Begins to count anew, as the next attempt begins.
    pub(super) fn begin_attempt(&mut self) {
        self.conflicts = None;
    }

    async fn after_conflict(&mut self) -> Result<bool, ConsumeError> {
        let received = self.received;
        let begin = || Waits::new(received, FIRST_AFTER_CONFLICT, LONGEST_AFTER_CONFLICT);
        let (count, waits) = self.conflicts.get_or_insert_with(|| (0, begin()));
        if *count == MAX_CONFLICTS {
            return Ok(false);
        }
        *count += 1;
        waits.next().await?;
        Ok(true)
    }

    /// Waits in place, as queues count what goes back to them. Others run meanwhile.
    async fn while_away(&mut self, error: &ConsumeError) -> bool {
        let (received, reason) = (self.received, Shown(error).to_string());
        let absence = match &mut self.absence {
            Some(absence) => {
                absence.trouble.because(reason);
                absence
            }
            None => self.absence.insert(Absence::begin(received, &reason)),
        };
        if Instant::now() >= absence.until {
            return false;
        }
        received.slot.step_aside();
        if absence.waits.next_while_pulling(received).await.is_err() {
            return false;
        }
        received.slot.enter().await;
        true
    }
}

impl Absence {
    fn begin(received: &ReceiveContext, reason: &str) -> Self {
        let endpoint = &received.endpoint;
        let trouble = endpoint.troubles.note(WAITING, reason.to_owned());
        if trouble.is_first() {
            tracing::warn!(endpoint = %endpoint.name, reason, "messages wait for what their consumers need");
        }
        Self {
            until: Instant::now() + PATIENCE,
            waits: Waits::new(received, FIRST_WAIT, LONGEST_WAIT),
            trouble,
        }
    }
}
