//! Errors of messages that were stored and cannot be read.

use std::error::Error;

/// Error for a stored message that cannot be read.
///
/// The record is set aside for a person: reading it again gives the same error.
#[derive(Debug, thiserror::Error)]
#[error("`{member}` of the stored message cannot be read: {reason}")]
pub struct RecordError {
    member: String,
    reason: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl RecordError {
    pub(super) fn new(member: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            member: member.into(),
            reason: reason.into(),
            source: None,
        }
    }

    pub(super) fn with_source(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// Returns the path of the member, such as `body` or `target.topology`.
    ///
    /// `.` is the metadata itself: it is no JSON, or lacks a member that the text names.
    pub fn member(&self) -> &str {
        &self.member
    }
}
