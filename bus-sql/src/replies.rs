//! Replies of a consumer in a column.

use bus_core::idempotency::StoredReply;

/// Longest replies that are kept, in bytes.
const LONGEST: usize = 1 << 20;

pub(crate) fn read(stored: &[u8]) -> Result<Vec<StoredReply>, serde_json::Error> {
    serde_json::from_slice(stored)
}

/// Replies as they are stored; none if they are too long.
pub(crate) fn write(replies: &[StoredReply]) -> Vec<u8> {
    let stored = serde_json::to_vec(replies).unwrap_or_default();
    if stored.is_empty() || stored.len() > LONGEST {
        tracing::warn!(
            bytes = stored.len(),
            "replies are too long to be kept for a duplicate"
        );
        return b"[]".to_vec();
    }
    stored
}
