//! Notes about one delivery that later steps and observers need.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::idempotency::Token;
use crate::send::{Held, SealedMessage};

/// The progress of one delivery through its pipeline.
///
/// Middleware returns no value but an error, so retry, flush and idempotency leave here what a
/// later step needs.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    attempts: AtomicU32,
    outbox: Held,
    may_have_left: AtomicBool,
    claim: Mutex<Option<Token>>,
    replies: Held,
    is_duplicate: AtomicBool,
    is_apart: AtomicBool,
}

impl Progress {
    /// Records that this attempt begins.
    pub(crate) fn begin_attempt(&self, number: u32) {
        self.attempts.store(number, Ordering::Relaxed);
    }

    /// Sets the number of attempts back, after a failure was handled.
    pub(crate) fn set_attempts(&self, number: u32) {
        self.attempts.store(number, Ordering::Relaxed);
    }

    /// Records that the attempt was not made, as there was nothing to do.
    pub(crate) fn forgo_attempt(&self) {
        self.attempts.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns the number of attempts so far.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Keeps what the successful attempt sent, until it is flushed.
    pub(crate) fn keep_outbox(&self, messages: Vec<SealedMessage>) {
        self.outbox.put(messages);
    }

    /// Returns `true` if there is something to flush.
    pub(crate) fn has_outbox(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Takes what is to be flushed.
    pub(crate) fn take_outbox(&self) -> Vec<SealedMessage> {
        self.outbox.take()
    }

    /// Records that messages begin to leave: what is sent cannot be taken back.
    pub(crate) fn begin_flush(&self) {
        self.may_have_left.store(true, Ordering::Relaxed);
    }

    /// Returns `true` if a message has left, or may have.
    pub(crate) fn may_have_left(&self) -> bool {
        self.may_have_left.load(Ordering::Relaxed)
    }

    /// Records the claim under which the message is handled.
    pub(crate) fn hold_claim(&self, token: Token) {
        *self.claim.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
    }

    /// Returns the claim under which the message is handled.
    pub(crate) fn claim(&self) -> Option<Token> {
        let claim = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        claim.clone()
    }

    /// Keeps the replies that a duplicate may need.
    pub(crate) fn keep_replies(&self, replies: Vec<SealedMessage>) {
        self.replies.put(replies);
    }

    /// Takes the replies that a duplicate may need.
    pub(crate) fn take_replies(&self) -> Vec<SealedMessage> {
        self.replies.take()
    }

    /// Records that the message was handled before and is not handled again.
    pub(crate) fn mark_duplicate(&self) {
        self.is_duplicate.store(true, Ordering::Relaxed);
    }

    /// Returns `true` if the message was handled before.
    pub(crate) fn is_duplicate(&self) -> bool {
        self.is_duplicate.load(Ordering::Relaxed)
    }

    /// Records that the message is not to be consumed in one batch with others.
    pub(crate) fn keep_apart(&self) {
        self.is_apart.store(true, Ordering::Relaxed);
    }

    /// Returns `true` if the message is not to be consumed in one batch with others.
    pub(crate) fn is_apart(&self) -> bool {
        self.is_apart.load(Ordering::Relaxed)
    }
}
