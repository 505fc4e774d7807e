//! Who is measured. Each runs in a process of its own and prints one line of figures.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::child::Place;
use crate::figures::Figures;
use crate::load::{Load, Work};
use crate::process::peak_memory;
use crate::{child, masstransit};

/// How often the memory of a process is looked at. The kernel keeps the peak, so only the last moment can be missed.
const LOOK: Duration = Duration::from_millis(20);

/// Longer than any load takes on a slow machine; what hangs ends the run.
const LIMIT: Duration = Duration::from_secs(30 * 60);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Contender {
    Bus,
    /// The client alone; it acknowledges so many at once.
    Lapin {
        batch: usize,
    },
    /// The client alone, with the same precautions as the bus; requests only.
    LapinAsSafe,
    /// Encoding, decoding, and a channel between two tasks.
    Channel,
    MassTransit,
    /// The same work without what the case is about.
    Without,
    /// The bus after a tenth of the messages, in the same process.
    Earlier,
}

impl Contender {
    pub(crate) const LAPIN: Self = Self::Lapin { batch: 1 };

    /// What tells lines apart that compare the same figure with several others.
    pub(crate) fn suffix(self) -> String {
        match self {
            Self::MassTransit => "-vs-masstransit".to_owned(),
            Self::LapinAsSafe => "-as-safe".to_owned(),
            Self::Lapin { batch } if batch > 1 => format!("-acks{batch}"),
            _ => String::new(),
        }
    }

    /// How many messages it is measured with.
    pub(crate) fn count(self, load: &Load, messages: usize) -> usize {
        match (self, load.work) {
            // 100 at once take it long, and a rate needs no more.
            (Self::MassTransit, Work::Request) => load.count(messages).min(messages / 10),
            _ => load.count(messages),
        }
    }

    /// The program that carries out a load.
    pub(crate) fn command(self, load: Load, place: &Place, count: usize) -> Command {
        match self {
            Self::MassTransit => masstransit::bench(load, &place.url, count),
            contender => child::Job {
                contender,
                load,
                place: place.clone(),
                count,
            }
            .command(),
        }
    }

    /// Runs it until it ends.
    pub(crate) async fn run(self, load: Load, place: &Place, count: usize) -> Figures {
        measured(self.command(load, place, count)).await
    }
}

/// Runs a program to its end, looking at its memory, and reads its line.
async fn measured(mut command: Command) -> Figures {
    let running = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program of a contender");
    let process = running.id().expect("it runs");
    let mut peak = 0.0_f64;
    let mut ended = std::pin::pin!(running.wait_with_output());
    let limit = tokio::time::Instant::now() + LIMIT;
    let output = loop {
        tokio::select! {
            () = tokio::time::sleep_until(limit) => panic!("{command:?} did not end within {LIMIT:?}"),
            output = &mut ended => break output.expect("its output"),
            () = tokio::time::sleep(LOOK) => peak = peak.max(peak_memory(process).unwrap_or_default()),
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let program = Path::new(command.as_std().get_program()).display();
    assert!(
        output.status.success(),
        "{program}: {}: {text}",
        output.status
    );
    let figures = Figures::parse(&text).unwrap_or_else(|error| panic!("{program}: {error}"));
    Figures { peak, ..figures }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_is_run_and_its_memory_looked_at() {
        let mut command = Command::new("sh");
        command.args(["-c", r#"sleep 0.2; echo '{"per_second": 12.5}'"#]);
        let figures = measured(command).await;
        assert!((figures.rate - 12.5).abs() < 1e-9);
        assert!(figures.peak > 0.0);
    }

    #[tokio::test]
    #[should_panic(expected = "exit status: 3")]
    async fn a_program_that_fails_is_named() {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 3"]);
        measured(command).await;
    }
}
