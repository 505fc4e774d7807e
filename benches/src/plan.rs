//! How much is run.

/// What the environment says of a run.
pub(crate) struct Plan {
    /// Only lines whose names contain this text.
    pub(crate) filter: String,
    pub(crate) rounds: usize,
    /// Messages in each measurement.
    pub(crate) messages: usize,
    /// Whether the second baseline is there.
    pub(crate) masstransit: bool,
}

impl Plan {
    pub(crate) fn from_environment() -> Self {
        let number = |name: &str, default| {
            let text = std::env::var(name).ok();
            text.and_then(|text| text.parse().ok()).unwrap_or(default)
        };
        Self {
            filter: std::env::var("CASE").unwrap_or_default(),
            rounds: number("ROUNDS", 5).max(1),
            messages: number("MESSAGES", 200_000).max(1000),
            masstransit: crate::masstransit::program().is_some(),
        }
    }
}
