//! Support for the code that the derive writes; no part of the public interface.

pub use uuid::Uuid;

/// A member that can carry a correlation id.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot carry a correlation id",
    label = "the member named by `correlation` has this type",
    note = "the member must be a `Uuid` or an `Option<Uuid>`"
)]
pub trait CorrelationMember {
    /// Returns the id, if there is one.
    fn id(&self) -> Option<Uuid>;
}

impl CorrelationMember for Uuid {
    fn id(&self) -> Option<Uuid> {
        Some(*self)
    }
}

impl CorrelationMember for Option<Uuid> {
    fn id(&self) -> Option<Uuid> {
        *self
    }
}
