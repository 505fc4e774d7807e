//! Panics of users' code, caught where they must not reach what runs beside it.
//!
//! A consumer runs in a task of its endpoint, beside others. An observer, a propagator, and the
//! `Display` of an error run between two steps of the bus, where a panic would lose a delivery or a
//! publisher.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs code that may panic.
///
/// # Errors
/// The text of the panic.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| text(&*panic).to_owned())
}

/// The text of a panic, if it has one: `panic!` gives `&str` or `String`.
pub(crate) fn text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// Shows a value of a user's type, whose `Display` may panic or fail.
pub(crate) struct Shown<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        // Whole or not at all: half a text would already be written.
        let shown = caught(|| {
            let mut shown = String::new();
            write!(shown, "{}", self.0).map(|()| shown)
        });
        match shown {
            Ok(Ok(shown)) => f.write_str(&shown),
            Ok(Err(_)) => f.write_str("(cannot be shown: its Display failed)"),
            Err(panic) => write!(f, "(cannot be shown: its Display panicked: {panic})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Clumsy(bool);

    impl fmt::Display for Clumsy {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half")?;
            assert!(self.0, "clumsy");
            Err(fmt::Error)
        }
    }

    #[test]
    fn what_cannot_be_shown_says_so() {
        for (value, expected) in [(false, "clumsy"), (true, "Display failed")] {
            let text = Shown(Clumsy(value)).to_string();
            assert!(
                text.contains(expected) && !text.starts_with("half"),
                "{text}"
            );
        }
        assert_eq!(Shown("whole").to_string(), "whole");
    }
}
