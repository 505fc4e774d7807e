//! What is seen while a case runs, on standard error.

use std::io::{IsTerminal, Write};

use crate::case::Case;

/// A line that follows the rounds on a terminal, and stands still elsewhere.
pub(crate) struct Progress {
    name: String,
    rounds: usize,
    moves: bool,
}

impl Progress {
    pub(crate) fn of(case: &Case, rounds: usize, messages: usize) -> Self {
        let progress = Self {
            name: case.name.clone(),
            rounds,
            moves: std::io::stderr().is_terminal(),
        };
        if !progress.moves {
            let count = case.load.count(messages);
            eprintln!("{}: {rounds} rounds of {count}", case.name);
        }
        progress
    }

    pub(crate) fn round(&self, number: usize) {
        if self.moves {
            eprint!(
                "\r\x1b[2K{}: round {} of {}",
                self.name,
                number + 1,
                self.rounds
            );
            // A terminal that is gone shows nothing.
            let _ = std::io::stderr().flush();
        }
    }

    pub(crate) fn end(&self) {
        if self.moves {
            eprint!("\r\x1b[2K");
        }
    }
}
