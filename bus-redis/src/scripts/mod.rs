//! Scripts that change a key as a whole, by the server's clock.

use std::time::Duration;

use redis::Script;

/// One script for each call.
///
/// A key is a hash: `fingerprint`, `claim`, `until` in milliseconds since 1970 or `never`, and
/// `replies` once it is done.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) begin: Script,
    pub(crate) extend: Script,
    pub(crate) complete: Script,
    pub(crate) release: Script,
}

macro_rules! script {
    ($file:literal) => {
        Script::new(concat!(include_str!("common.lua"), include_str!($file)))
    };
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            begin: script!("begin.lua"),
            extend: script!("extend.lua"),
            complete: script!("complete.lua"),
            release: script!("release.lua"),
        }
    }
}

/// Time for which a claim is remembered after its lease has run out.
///
/// An owner that could not prolong it, as Redis was away, can still confirm and complete it, if no
/// other owner has taken the key meanwhile.
pub(crate) const SPARE: Duration = Duration::from_secs(60 * 60);

/// A thousand years.
const ENDLESS: Duration = Duration::from_secs(1000 * 365 * 24 * 60 * 60);

/// A duration as the scripts take it: milliseconds, at least one, or `endless`.
pub(crate) fn milliseconds(duration: Duration) -> String {
    if duration >= ENDLESS {
        return "endless".to_owned();
    }
    let rounded_up = duration.as_nanos().div_ceil(1_000_000);
    rounded_up.max(1).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_milliseconds_or_without_end() {
        assert_eq!(milliseconds(Duration::ZERO), "1");
        assert_eq!(milliseconds(Duration::from_nanos(1)), "1");
        assert_eq!(milliseconds(Duration::from_micros(20_001)), "21");
        assert_eq!(milliseconds(Duration::from_secs(60)), "60000");
        assert_eq!(milliseconds(Duration::MAX), "endless");
    }
}
