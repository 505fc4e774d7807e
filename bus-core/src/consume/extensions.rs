//! Values that middleware gives to what runs inside of it.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;

/// Values by their type, of which each type has one at most.
///
/// Few are expected, so they are searched in turn; none costs nothing.
#[derive(Clone, Default)]
pub(crate) struct Extensions(Vec<(TypeId, Arc<dyn Any + Send + Sync>)>);

impl Extensions {
    pub(crate) fn get<T: Any>(&self) -> Option<&T> {
        let id = TypeId::of::<T>();
        let (_, value) = self.0.iter().find(|(known, _)| *known == id)?;
        value.downcast_ref()
    }

    /// Returns a copy that has `value` too, in place of another of its type.
    pub(crate) fn with<T: Any + Send + Sync>(&self, value: T) -> Self {
        let id = TypeId::of::<T>();
        let mut values = self.0.clone();
        values.retain(|(known, _)| *known != id);
        values.push((id, Arc::new(value)));
        Self(values)
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extensions")
            .field("values", &self.0.len())
            .finish()
    }
}
