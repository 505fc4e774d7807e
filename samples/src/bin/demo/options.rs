//! What the demo is asked to do.

use clap::Parser;
use samples::logging::LogOptions;
use samples::share::Share;

/// Runs invoice, payment and shipping services in one process on databases in temporary files,
/// kills a part of them in the middle, and shows whether the numbers agree.
#[derive(Parser, Debug)]
#[command(version)]
pub(crate) struct Options {
    /// Runs on this RabbitMQ instead of in memory: `amqp://user:password@host:port/vhost`. Whatever
    /// the run declares has names of its own and is removed by the broker one minute after the end.
    #[arg(long, value_name = "URL")]
    pub(crate) amqp: Option<String>,
    /// How many invoices the client orders.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) commands: u32,
    /// How many machines run, each with an instance of every service. The first one dies in the
    /// middle.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) instances: u32,
    /// The share of attempts that fail, from 0 to 1. They are tried again; the last attempt is
    /// spared.
    #[arg(long, value_name = "P", default_value = "0.1")]
    pub(crate) fail_rate: Share,
    /// The share of commands that are sent twice, from 0 to 1.
    #[arg(long, value_name = "P", default_value = "0.1")]
    pub(crate) duplicates: Share,
    /// How to log.
    #[command(flatten)]
    pub(crate) log: LogOptions,
}
