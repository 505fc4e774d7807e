//! How far it is: a bar on a terminal, else a line now and then.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

/// The progress of one step, on standard error.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    total: usize,
    /// None where there is no terminal, as in the log of a build.
    bar: Option<ProgressBar>,
    tenths: usize,
}

impl Progress {
    pub(crate) fn new(what: &'static str, total: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| bar(what, total));
        Self {
            what,
            total,
            bar,
            tenths: 0,
        }
    }

    /// So many of all are done.
    pub(crate) fn at(&mut self, done: usize) {
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
            return;
        }
        let tenths = done * 10 / self.total.max(1);
        if tenths > self.tenths {
            self.tenths = tenths;
            eprintln!("{}: {done} of {}", self.what, self.total);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

fn bar(what: &'static str, total: usize) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{msg:<20} [{bar:40}] {pos}/{len} {per_sec} {elapsed}");
    ProgressBar::new(total as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what)
}
