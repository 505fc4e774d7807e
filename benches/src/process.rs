//! What the kernel says of a process.

use std::time::Duration;

/// User and system time of this process, in steps of 10 ms.
pub(crate) fn processor_time() -> Duration {
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

/// The most memory that a process had so far, in MB; nothing once it has ended.
pub(crate) fn peak_memory(process: u32) -> Option<f64> {
    status(&process.to_string(), "VmHWM:")
}

/// The memory of this process now, in MB.
pub(crate) fn resident_memory() -> f64 {
    status("self", "VmRSS:").unwrap_or_default()
}

fn status(process: &str, field: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    megabytes(&status, field)
}

fn megabytes(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kilobytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_goes_on() {
        let before = processor_time();
        let mut sum = 0u64;
        while processor_time() <= before {
            sum = sum.wrapping_add(1);
        }
        assert!(sum > 0);
    }

    #[test]
    fn memory_is_read_in_megabytes() {
        let status = "Name:\tbus\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\n";
        assert_eq!(megabytes(status, "VmHWM:"), Some(20.0));
        assert_eq!(megabytes(status, "VmSwap:"), None);
        assert!(resident_memory() > 0.0);
        assert!(peak_memory(std::process::id()).is_some_and(|peak| peak > 0.0));
    }
}
