//! The life of a service process: it starts when its broker is there, and stops cleanly when asked to.

use std::process::ExitCode;

use bus_core::transport::Transport as _;
use bus_core::{Bus, BusBuilder};
use bus_rabbitmq::RabbitMq;
use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use crate::logging::LogOptions;
use crate::signals::Signals;

/// The exit status after a second signal, as shells use it for Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Runs the service until Ctrl-C or SIGTERM.
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    /// The broker: `amqp://user:password@host:port/vhost`.
    // The environment may hold a password, which help must not show.
    #[arg(
        long,
        env = "AMQP_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = "amqp://localhost"
    )]
    amqp: String,
    #[command(flatten)]
    log: LogOptions,
}

/// Runs a service until Ctrl-C or SIGTERM; a second one ends it at once. `configure` adds its endpoints.
///
/// A broker that is not up is waited for, so that services and broker may start in any order.
pub async fn run(name: &'static str, configure: impl FnOnce(BusBuilder) -> BusBuilder) -> ExitCode {
    let matches = Options::command().name(name).get_matches();
    let options = Options::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    options
        .log
        .install(Targets::new().with_default(LevelFilter::INFO));
    match serve(name, &options, configure).await {
        Ok(status) => status,
        Err(error) => {
            tracing::error!(service = name, "{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(
    name: &'static str,
    options: &Options,
    configure: impl FnOnce(BusBuilder) -> BusBuilder,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    // Before anything else: a signal during the start must be seen.
    let mut signals = Signals::listen()?;
    let transport = RabbitMq::new(&options.amqp).connection_name(name);
    tracing::info!(
        service = name,
        broker = transport.base_address(),
        "connecting; a broker that is not up is awaited"
    );
    let bus = tokio::select! {
        started = configure(Bus::builder(transport)).start() => started?,
        signal = signals.next() => {
            tracing::info!(service = name, signal, "stopped before the broker was there");
            return Ok(ExitCode::SUCCESS);
        }
    };
    tracing::warn!(
        service = name,
        "the state of this process is its own and ends with it; another instance would not know of it"
    );
    tracing::info!(service = name, "ready");
    let signal = signals.next().await;
    tracing::info!(
        service = name,
        signal,
        "stopping; a second signal ends it at once"
    );
    tokio::select! {
        stopped = bus.shutdown() => stopped?,
        signal = signals.next() => {
            tracing::warn!(service = name, signal, "ended at once; unfinished messages go back to their queues");
            return Ok(ExitCode::from(INTERRUPTED));
        }
    }
    tracing::info!(service = name, "stopped");
    Ok(ExitCode::SUCCESS)
}
