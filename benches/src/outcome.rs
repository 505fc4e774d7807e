//! One line: two contenders, a ratio, a bar.

use std::fmt;

use crate::figures::{Figures, Middle};

/// What of the figures is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantity {
    /// Messages a second.
    Rate,
    /// Processor time for each message.
    Cpu,
    /// The middle latency.
    Latency,
    /// The latency that one of a hundred exceeds.
    Tail,
    /// The most memory.
    Peak,
    /// The memory at the end.
    Resident,
    /// From the start of the process to its first message.
    StartUp,
}

impl Quantity {
    pub(crate) fn of(self, figures: &Figures) -> f64 {
        match self {
            Self::Rate => figures.rate,
            Self::Cpu => figures.cpu,
            Self::Latency => figures.latency,
            Self::Tail => figures.tail,
            Self::Peak => figures.peak,
            Self::Resident => figures.resident,
            Self::StartUp => figures.start_up,
        }
    }

    /// What tells lines of one case apart.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Cpu => "-cpu",
            Self::Peak => "-peak",
            Self::Tail => "-p99",
            Self::Resident => "-memory",
            _ => "",
        }
    }

    /// Digits after the point, and the unit.
    fn format(self) -> (usize, &'static str) {
        match self {
            Self::Rate => (0, "/s"),
            Self::Cpu => (1, "us"),
            Self::Latency | Self::Tail => (2, "ms"),
            Self::Peak | Self::Resident => (1, "MB"),
            Self::StartUp => (0, "ms"),
        }
    }
}

/// What a ratio, or a figure, must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bar {
    /// Anything.
    None,
    AtLeast(f64),
    AtMost(f64),
}

impl Bar {
    pub(crate) fn is_met_by(self, ratio: f64) -> bool {
        // A baseline of nothing, or no figure at all, meets no bar.
        ratio.is_finite()
            && match self {
                Self::None => true,
                Self::AtLeast(least) => ratio >= least,
                Self::AtMost(most) => ratio > 0.0 && ratio <= most,
            }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::AtLeast(least) => write!(f, ">={least}"),
            Self::AtMost(most) => write!(f, "<={most}"),
        }
    }
}

/// What several rounds came to.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) quantity: Quantity,
    pub(crate) ours: Middle,
    pub(crate) baseline: Middle,
    pub(crate) bar: Bar,
    /// What our figure itself must be.
    pub(crate) limit: Bar,
}

impl Outcome {
    pub(crate) fn ratio(&self) -> f64 {
        self.ours.value / self.baseline.value
    }

    pub(crate) fn meets_its_bar(&self) -> bool {
        self.bar.is_met_by(self.ratio()) && self.limit.is_met_by(self.ours.value)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            ours,
            baseline,
            ..
        } = self;
        let (digits, unit) = self.quantity.format();
        write!(
            f,
            "case={name} bus={:.digits$}{unit} baseline={:.digits$}{unit} ratio={:.2}",
            ours.value,
            baseline.value,
            self.ratio(),
        )?;
        if self.bar != Bar::None {
            write!(f, " bar{}", self.bar)?;
        }
        if self.limit != Bar::None {
            write!(f, " limit{}{unit}", self.limit)?;
        }
        write!(f, " spread={:.0}%/{:.0}%", ours.spread, baseline.spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(ours: f64, baseline: f64, bar: Bar) -> Outcome {
        let middle = |value| Middle { value, spread: 3.0 };
        Outcome {
            name: "publish-quorum".to_owned(),
            quantity: Quantity::Rate,
            ours: middle(ours),
            baseline: middle(baseline),
            bar,
            limit: Bar::None,
        }
    }

    #[test]
    fn the_bar_itself_is_enough() {
        assert!(outcome(90.0, 100.0, Bar::AtLeast(0.9)).meets_its_bar());
        assert!(!outcome(89.0, 100.0, Bar::AtLeast(0.9)).meets_its_bar());
        assert!(outcome(110.0, 100.0, Bar::AtMost(1.1)).meets_its_bar());
        assert!(!outcome(111.0, 100.0, Bar::AtMost(1.1)).meets_its_bar());
    }

    #[test]
    fn figures_that_are_missing_meet_no_bar() {
        assert!(!outcome(1.0, 0.0, Bar::AtLeast(0.9)).meets_its_bar());
        assert!(!outcome(0.0, 0.0, Bar::AtMost(1.1)).meets_its_bar());
        assert!(!outcome(0.0, 1.0, Bar::AtMost(1.1)).meets_its_bar());
    }

    #[test]
    fn a_line_is_made_of_words_with_names() {
        assert_eq!(
            outcome(52_310.0, 55_120.0, Bar::AtLeast(0.9)).to_string(),
            "case=publish-quorum bus=52310/s baseline=55120/s ratio=0.95 bar>=0.9 spread=3%/3%"
        );
    }

    #[test]
    fn a_figure_can_have_a_limit_of_its_own() {
        let limited = |ours| Outcome {
            limit: Bar::AtLeast(2000.0),
            ..outcome(ours, 2500.0, Bar::AtLeast(0.6))
        };
        assert!(limited(2000.0).meets_its_bar());
        assert!(!limited(1999.0).meets_its_bar());
        assert_eq!(
            limited(2000.0).to_string(),
            "case=publish-quorum bus=2000/s baseline=2500/s ratio=0.80 bar>=0.6 limit>=2000/s spread=3%/3%"
        );
    }
}
