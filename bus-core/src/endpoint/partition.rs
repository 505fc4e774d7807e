//! Keys by which messages are handled one after the other.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::consume::ConsumeContext;

type KeyOf = dyn Fn(&ConsumeContext) -> Option<u64> + Send + Sync;

/// A function from messages to their keys.
///
/// A hash stands for the key: two keys of one hash are handled as one.
#[derive(Clone)]
pub(crate) struct PartitionKey(Arc<KeyOf>);

impl PartitionKey {
    pub(crate) fn new<K: Hash>(
        key: impl Fn(&ConsumeContext) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(move |ctx| key(ctx).map(|key| hash(&key))))
    }

    /// Returns the key of a message; `None` if it has none.
    pub(crate) fn of(&self, ctx: &ConsumeContext) -> Option<u64> {
        (self.0)(ctx)
    }
}

fn hash(key: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
