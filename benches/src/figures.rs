//! Figures of one run, and what several runs have in common.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::process::processor_time;

/// What one contender needed for one load: the line that its process prints. Absent where it was not taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Figures {
    /// Messages, or requests, a second.
    #[serde(rename = "per_second")]
    pub(crate) rate: f64,
    /// Processor time of the process for each message, in microseconds.
    #[serde(rename = "cpu_us_each")]
    pub(crate) cpu: f64,
    /// The middle latency, in milliseconds.
    #[serde(rename = "p50_ms")]
    pub(crate) latency: f64,
    /// The latency that one of a hundred exceeds, in milliseconds.
    #[serde(rename = "p99_ms")]
    pub(crate) tail: f64,
    /// The rate in the first tenth.
    #[serde(rename = "per_second_before")]
    pub(crate) rate_before: f64,
    /// Memory at the end, in MB.
    #[serde(rename = "resident_mb")]
    pub(crate) resident: f64,
    /// Memory after the first tenth, in MB.
    #[serde(rename = "resident_before_mb")]
    pub(crate) resident_before: f64,
    /// The most memory that the process had, in MB: looked at from outside.
    #[serde(skip)]
    pub(crate) peak: f64,
    /// From the start of the process to its first message, in milliseconds: looked at from outside.
    #[serde(skip)]
    pub(crate) start_up: f64,
}

impl Figures {
    /// Reads them from the last line that a contender printed.
    pub(crate) fn parse(output: &str) -> Result<Self, String> {
        let line = output.trim_end().lines().next_back().unwrap_or_default();
        serde_json::from_str(line).map_err(|error| format!("{error} in {line:?}"))
    }

    /// What they were after the first tenth.
    pub(crate) fn before(&self) -> Self {
        Self {
            rate: self.rate_before,
            resident: self.resident_before,
            ..Self::default()
        }
    }
}

/// A stop watch for time and processor time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    started: Instant,
    cpu: Duration,
}

impl Watch {
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            cpu: processor_time(),
        }
    }

    #[allow(clippy::cast_precision_loss)] // counts of messages are small
    pub(crate) fn stop(self, count: usize) -> Figures {
        let seconds = self.started.elapsed().as_secs_f64();
        let cpu = processor_time().saturating_sub(self.cpu).as_secs_f64();
        Figures {
            rate: count as f64 / seconds,
            cpu: cpu * 1e6 / count as f64,
            ..Figures::default()
        }
    }

    /// The same for requests, each with its latency.
    pub(crate) fn stop_with(self, mut latencies: Vec<Duration>) -> Figures {
        let figures = self.stop(latencies.len());
        latencies.sort_unstable();
        let at = |place: usize| {
            let latency = latencies.get(place);
            latency.map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
        };
        Figures {
            latency: at(latencies.len() / 2),
            tail: at(latencies.len() * 99 / 100),
            ..figures
        }
    }
}

/// The middle one of several values, and the distance of the outermost ones in percent of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Middle {
    pub(crate) value: f64,
    pub(crate) spread: f64,
}

impl Middle {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let Some(value) = values.get(values.len() / 2).copied() else {
            return Self {
                value: 0.0,
                spread: 0.0,
            };
        };
        let (first, last) = (values[0], values[values.len() - 1]);
        Self {
            value,
            spread: (last - first) / value * 100.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let middle = Middle::of(vec![3.0, 1.0, 2.0]);
        assert_eq!((middle.value, middle.spread), (2.0, 100.0));
        let middle = Middle::of(vec![5.0]);
        assert_eq!((middle.value, middle.spread), (5.0, 0.0));
    }

    #[test]
    fn the_line_of_a_masstransit_is_read() {
        let output = "warming up\n{\"case\":\"request\",\"n\":2000,\"in_flight\":100,\"p50_ms\":20.5,\"p99_ms\":44.0,\
            \"seconds\":0.5,\"per_second\":4000,\"cpu_us_each\":310.5,\"peak_mb\":140}\n";
        let figures = Figures::parse(output).expect("figures");
        let expected = Figures {
            rate: 4000.0,
            cpu: 310.5,
            latency: 20.5,
            tail: 44.0,
            ..Figures::default()
        };
        assert_eq!(figures, expected);
    }

    #[test]
    fn a_line_that_has_no_figures_is_shown() {
        let error = Figures::parse("Unhandled exception").expect_err("no figures");
        assert!(error.contains("Unhandled exception"), "{error}");
    }

    #[test]
    fn figures_survive_the_way_from_another_process() {
        let figures = Watch::start().stop_with(vec![Duration::from_millis(7); 3]);
        let line = serde_json::to_string(&figures).expect("JSON");
        assert_eq!(Figures::parse(&line), Ok(figures));
        assert!((figures.latency - 7.0).abs() < 1e-9);
    }
}
