//! Figures of one run, and what several runs have in common.

use std::time::{Duration, Instant};

/// What one contender needed for one load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// Messages, or requests, a second.
    pub(crate) rate: f64,
    /// Processor time of this process for each message, in microseconds.
    pub(crate) cpu: f64,
    /// The middle latency of one message, in microseconds; 0 where it was not taken.
    pub(crate) latency: f64,
}

/// A stop watch for time and processor time.
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
            latency: 0.0,
        }
    }
}

/// User and system time of this process, in steps of 10 ms.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The program's name stands in brackets and may hold blanks.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

/// The middle one, and the distance of the outermost ones in percent of it.
pub(crate) fn median_and_spread(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let Some(median) = values.get(values.len() / 2).copied() else {
        return (0.0, 0.0);
    };
    let (first, last) = (values[0], values[values.len() - 1]);
    (median, (last - first) / median * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median_and_spread(vec![3.0, 1.0, 2.0]), (2.0, 100.0));
        assert_eq!(median_and_spread(vec![5.0]), (5.0, 0.0));
    }

    #[test]
    fn processor_time_goes_on() {
        let before = processor_time();
        let mut sum = 0u64;
        while processor_time() <= before {
            sum = sum.wrapping_add(1);
        }
        assert!(sum > 0);
    }
}
