//! The life of a service process: it starts when its broker is there, and stops cleanly when asked
//! to.

use std::process::ExitCode;

use bus_core::error::BoxError;
use bus_core::transport::Transport as _;
use bus_core::{Bus, BusBuilder, Policy};
use bus_rabbitmq::RabbitMq;
use bus_sql::sqlx::{Error, Postgres, Sqlite};
use bus_sql::{Backend, Sql};
use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use crate::database::{self, Database};
use crate::logging::LogOptions;
use crate::share::Share;
use crate::signals::Signals;
use crate::unreliable::Unreliable;

/// The exit status after a second signal, as shells use it for Ctrl-C.
const INTERRUPTED: u8 = 130;

/// How many messages an endpoint handles at once; the connections to the database are counted by
/// it.
const CONCURRENCY: usize = 4;

/// A service with tables in a database. Its instances share them, so that any number of them may
/// run.
pub trait Service<DB: Backend> {
    /// The name of the process, of its default file, and of its tables for the bus.
    const NAME: &'static str;

    /// The statements that create its own tables.
    const TABLES: &'static [&'static str];

    /// Adds the endpoints, and the relay that sends what they have committed.
    fn configure(bus: BusBuilder, sql: Sql<DB>) -> BusBuilder;
}

/// Starts an instance of a service. A server that is not up is waited for.
///
/// # Errors
/// An [`Unusable`](database::Unusable) database, or a bus that does not start.
pub async fn start<S>(bus: BusBuilder, database: &Database) -> Result<Bus, BoxError>
where
    S: Service<Postgres> + Service<Sqlite>,
{
    let bus = bus.policy(Policy::new().concurrency(CONCURRENCY));
    let bus = match database {
        Database::Sqlite(options) => {
            let tables = <S as Service<Sqlite>>::TABLES;
            let pool = database::open_file(options, tables).await;
            let pool = pool.map_err(|error| database.unusable(error))?;
            S::configure(bus, of_service::<S, _>(Sql::sqlite(pool)))
        }
        Database::Postgres(options) => {
            let tables = <S as Service<Postgres>>::TABLES;
            let pool = database::connect(options, tables).await;
            let pool = pool.map_err(|error| database.unusable(error))?;
            S::configure(bus, of_service::<S, _>(Sql::postgres(pool)))
        }
    };
    Ok(bus.start().await?)
}

/// Gives the bus tables of this service's own: others may be in the same database.
pub fn of_service<S: Service<DB>, DB: Backend>(sql: Sql<DB>) -> Sql<DB> {
    sql.table_prefix(&format!("{}_", S::NAME.replace('-', "_")))
}

/// Runs the service until Ctrl-C or SIGTERM.
#[derive(Parser)]
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
    /// The database: `sqlite:FILE` or `postgres://user:password@host:port/name`. All instances of a
    /// service need the same one; services may share one. Default: a file with the name of the
    /// service, in this folder.
    // Read later: a wrong value would be shown, and it may hold a password.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database: Option<String>,
    /// The share of attempts that fail on purpose, from 0 to 1. They are tried again; the last
    /// attempt is spared.
    #[arg(long, value_name = "P", default_value = "0")]
    fail_rate: Share,
    #[command(flatten)]
    log: LogOptions,
}

/// Runs a service until Ctrl-C or SIGTERM; a second one ends it at once.
///
/// A broker or a database that is not up is waited for, so that all of them may start in any order.
pub async fn run<S: Service<Postgres> + Service<Sqlite>>() -> ExitCode {
    let name = <S as Service<Sqlite>>::NAME;
    let matches = Options::command().name(name).get_matches();
    let options = Options::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    options
        .log
        .install(Targets::new().with_default(LevelFilter::INFO));
    match serve::<S>(name, &options).await {
        Ok(status) => status,
        Err(error) => {
            tracing::error!(service = name, "{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve<S>(name: &'static str, options: &Options) -> Result<ExitCode, BoxError>
where
    S: Service<Postgres> + Service<Sqlite>,
{
    // Before anything else: a signal during the start must be seen.
    let mut signals = Signals::listen()?;
    let database: Database = match &options.database {
        Some(url) => url
            .parse()
            .map_err(|error: Error| format!("--database: {error}"))?,
        None => Database::file(format!("{name}.db")),
    };
    let transport = RabbitMq::new(&options.amqp).connection_name(name);
    tracing::info!(
        service = name,
        broker = transport.base_address(),
        %database,
        "connecting; a broker or a database that is not up is awaited"
    );
    let unreliable = Policy::new().around_attempt(Unreliable::retried(options.fail_rate));
    let bus = tokio::select! {
        started = start::<S>(Bus::builder(transport).policy(unreliable), &database) => started?,
        signal = signals.next() => {
            tracing::info!(service = name, signal, "stopped before the broker and the database were there");
            return Ok(ExitCode::SUCCESS);
        }
    };
    tracing::info!(service = name, "ready");
    stop(name, &bus, signals).await
}

/// Waits for a signal, and stops.
async fn stop(name: &'static str, bus: &Bus, mut signals: Signals) -> Result<ExitCode, BoxError> {
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
