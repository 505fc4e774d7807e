//! Error of the stop of a bus.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Error of a stop: work still ran when the stop timeout had passed.
///
/// Consumers were cancelled, and their messages are back in the queues; background services were
/// aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopTimeout {
    pub(crate) after: Duration,
    pub(crate) consumers: bool,
    pub(crate) services: Vec<String>,
}

impl StopTimeout {
    /// Returns `true` if consumers were cancelled.
    pub fn has_cut_off_consumers(&self) -> bool {
        self.consumers
    }

    /// The names of the background services that were aborted.
    pub fn aborted_services(&self) -> impl Iterator<Item = &str> {
        self.services.iter().map(String::as_str)
    }
}

impl fmt::Display for StopTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = self.after;
        if self.consumers {
            write!(
                f,
                "consumers were still running {after:?} after the stop; they were cancelled and their messages are \
                 back in the queues"
            )?;
        }
        if !self.services.is_empty() {
            let separator = if self.consumers { "; " } else { "" };
            let names = self.services.join("`, `");
            write!(
                f,
                "{separator}background services were still running {after:?} after the stop and were aborted: `{names}`"
            )?;
        }
        Ok(())
    }
}

impl Error for StopTimeout {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_what_did_not_stop() {
        let text = |consumers, services: &[&str]| {
            let services = services.iter().map(ToString::to_string).collect();
            let after = Duration::from_secs(30);
            let error = StopTimeout {
                after,
                consumers,
                services,
            };
            error.to_string()
        };
        assert!(text(true, &[]).starts_with("consumers were still running 30s after the stop;"));
        let services = text(false, &["relay", "clock"]);
        assert!(services.starts_with("background services were still running 30s"));
        assert!(services.ends_with("aborted: `relay`, `clock`"));
        let both = text(true, &["relay"]);
        assert!(both.contains("in the queues; background services") && both.ends_with("`relay`"));
    }
}
