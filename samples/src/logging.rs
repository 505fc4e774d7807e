//! Where the processes log: to standard error, for people or for machines.

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// How to log.
#[derive(Args, Clone, Debug)]
pub struct LogOptions {
    /// The form of the log on standard error.
    #[arg(long, value_enum, default_value = "text")]
    log: LogForm,
    /// What to log: a level, or levels by module, such as `warn,bus_rabbitmq=debug`.
    #[arg(long, env = "RUST_LOG", value_name = "LEVELS")]
    log_level: Option<Targets>,
}

/// The form of a log.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogForm {
    /// One readable line for each event.
    Text,
    /// One JSON object for each event.
    Json,
}

impl LogOptions {
    /// Logs from now on, what the options say, else what `default` says. Once in a process.
    ///
    /// # Panics
    /// If the process logs already.
    pub fn install(&self, default: Targets) {
        let levels = self.log_level.clone().unwrap_or(default);
        let layer = match self.log {
            LogForm::Text => fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(is_terminal())
                .boxed(),
            LogForm::Json => fmt::layer()
                .json()
                .flatten_event(true)
                .with_writer(std::io::stderr)
                .boxed(),
        };
        tracing_subscriber::registry()
            .with(layer)
            .with(levels)
            .init();
    }
}

fn is_terminal() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr())
}
