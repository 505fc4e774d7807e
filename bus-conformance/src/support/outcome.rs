//! The outcome of a behaviour.

use std::error::Error;
use std::fmt;
use std::panic::Location;

/// Result of a behaviour: `?` ends it with the error and the line.
pub type Outcome<T = ()> = Result<T, Failure>;

/// An error that a behaviour did not expect, and where it met it.
pub struct Failure {
    cause: Box<dyn Error + Send + Sync>,
    location: &'static Location<'static>,
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failure {
    #[track_caller]
    fn from(cause: E) -> Self {
        Self {
            cause: cause.into(),
            location: Location::caller(),
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location, self.cause)
    }
}
