//! How far it is: a bar on a terminal, else a line for each thing that happens.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;

const WIDTH: usize = 30;

/// Shown on standard error.
#[derive(Debug)]
pub(crate) struct Progress {
    start: Instant,
    total: Duration,
    moves: bool,
}

impl Progress {
    pub(crate) fn of(total: Duration) -> Self {
        Self {
            start: Instant::now(),
            total,
            moves: std::io::stderr().is_terminal(),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.start.elapsed() >= self.total
    }

    /// What happens now, and how much was handled by now.
    pub(crate) fn say(&self, what: &str, handled: u64) {
        let (now, all) = (self.start.elapsed().as_secs(), self.total.as_secs());
        if self.moves {
            let part = self.start.elapsed().as_secs_f64() / self.total.as_secs_f64().max(1.0);
            let done = ((part * WIDTH as f64) as usize).min(WIDTH);
            let bar = format!("{}{}", "=".repeat(done), " ".repeat(WIDTH - done));
            eprint!("\r\x1b[2K[{bar}] {now} of {all} s, {handled} handled; {what}");
            // A terminal that is gone shows nothing.
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{now:>5} s: {what}; {handled} handled");
        }
    }

    pub(crate) fn end(&self) {
        if self.moves {
            eprint!("\r\x1b[2K");
        }
    }
}
