//! Conditions on errors, by which a policy applies to a failed message.

use std::fmt;
use std::sync::Arc;

use crate::error::ConsumeError;

type Filter = Arc<dyn Fn(&ConsumeError) -> bool + Send + Sync>;

/// Filters of which all must accept an error.
#[derive(Clone, Default)]
pub(super) struct Filters(Vec<Filter>);

impl Filters {
    pub(super) fn add(&mut self, filter: impl Fn(&ConsumeError) -> bool + Send + Sync + 'static) {
        self.0.push(Arc::new(filter));
    }

    pub(super) fn allow(&self, error: &ConsumeError) -> bool {
        self.0.iter().all(|filter| filter(error))
    }
}

impl fmt::Debug for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filters").field(&self.0.len()).finish()
    }
}
