//! What this process holds, and what its broker holds for it.

use std::time::Duration;

use bus_tests::Broker;
use tokio::time::sleep;

/// Taken when nothing is under way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Vitals {
    pub(crate) memory_kib: usize,
    pub(crate) tasks: usize,
    pub(crate) threads: usize,
    pub(crate) sockets: usize,
    pub(crate) connections: usize,
}

/// Names, how to read, and how much more of it is none, in parts and absolute.
type Measure = (&'static str, fn(&Vitals) -> usize, f64, usize);

pub(crate) const MEASURES: [Measure; 5] = [
    ("memory KiB", |vitals| vitals.memory_kib, 0.1, 8 * 1024),
    ("tasks", |vitals| vitals.tasks, 0.0, 4),
    ("threads", |vitals| vitals.threads, 0.0, 2),
    ("sockets", |vitals| vitals.sockets, 0.0, 2),
    ("connections", |vitals| vitals.connections, 0.0, 0),
];

impl Vitals {
    /// Waits until the process has come to rest, for a while, and looks.
    pub(crate) async fn at_rest(broker: &Broker) -> Self {
        const STILL: u32 = 8;
        let mut last = here();
        let mut still = 0;
        for _ in 0..120 {
            sleep(Duration::from_millis(250)).await;
            let now = here();
            let same =
                (now.tasks, now.threads, now.sockets) == (last.tasks, last.threads, last.sockets);
            still = if same { still + 1 } else { 0 };
            last = now;
            if still >= STILL {
                break;
            }
        }
        let listing = ["-q", "--no-table-headers", "list_connections", "pid"];
        let listed = broker.control(&listing).await;
        last.connections = listed.lines().count();
        last
    }
}

fn here() -> Vitals {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_whitespace().nth(1));
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    let files = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let targets = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    let is_socket = |target: &std::path::PathBuf| target.to_string_lossy().starts_with("socket:");
    Vitals {
        memory_kib: field("VmRSS:"),
        tasks: tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks(),
        threads: field("Threads:"),
        sockets: targets.filter(is_socket).count(),
        connections: 0,
    }
}

/// The medians of an early and a late part of the rounds, and what has grown. The first round is to warm up.
pub(crate) fn growth(rounds: &[Vitals]) -> Option<Vec<(&'static str, usize, usize, bool)>> {
    let rounds = rounds.get(1..).filter(|rounds| rounds.len() >= 2)?;
    let third = rounds.len().div_ceil(3);
    let (early, late) = (&rounds[..third], &rounds[rounds.len() - third..]);
    let compare = |(name, read, parts, absolute): Measure| {
        let (before, after) = (median(early, read), median(late, read));
        let allowed = (before as f64 * parts) as usize + absolute;
        (name, before, after, after > before + allowed)
    };
    Some(MEASURES.map(compare).to_vec())
}

fn median(rounds: &[Vitals], read: fn(&Vitals) -> usize) -> usize {
    let mut values: Vec<_> = rounds.iter().map(read).collect();
    values.sort_unstable();
    values[values.len() / 2]
}
