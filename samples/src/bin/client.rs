//! `cargo run -p samples --bin client -- --amqp amqp://localhost --commands 10`
//!
//! Sends commands, waits for the shipments that come of them, and asks for each invoice. Services
//! that are not up find the commands when they are.
#![allow(clippy::print_stdout)] // what came of the commands is the output of the program

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use bus_core::Bus;
use bus_rabbitmq::RabbitMq;
use clap::Parser;
use futures_util::TryStreamExt as _;
use samples::client::{self, Shipments};
use samples::contracts::{CreateInvoice, TemperatureReading};
use samples::logging::LogOptions;
use samples::share::Share;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// How long a broker is awaited, and an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Orders invoices, and waits for the goods.
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    /// The broker: `amqp://user:password@host:port/vhost`.
    #[arg(
        long,
        env = "AMQP_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = "amqp://localhost"
    )]
    amqp: String,
    /// How many invoices to order.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    commands: u32,
    /// The share of commands that are sent twice, from 0 to 1.
    #[arg(long, value_name = "P", default_value = "0")]
    duplicates: Share,
    /// How many seconds to wait when nothing more is shipped.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    timeout: u32,
    /// How many temperature readings to publish, for those who like to know.
    #[arg(long, value_name = "N", default_value_t = 3)]
    readings: u32,
    #[command(flatten)]
    log: LogOptions,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    options
        .log
        .install(Targets::new().with_default(LevelFilter::WARN));
    match run(&options).await {
        Ok(status) => status,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let shipments = Shipments::default();
    let bus = Bus::builder(RabbitMq::new(&options.amqp).connection_name("client"))
        .start_timeout(PATIENCE);
    let bus = client::configure(bus.deadline(PATIENCE), shipments.clone())
        .start()
        .await?;
    let outcome = order(&bus, options, &shipments).await;
    bus.shutdown().await?;
    outcome
}

async fn order(
    bus: &Bus,
    options: &Options,
    shipments: &Shipments,
) -> Result<ExitCode, Box<dyn Error>> {
    let commands = client::orders(options.commands.try_into()?);
    shipments.expect(&commands);
    let copies = client::send_all(bus, &commands, || options.duplicates.draw());
    let twice: usize = copies.try_collect::<Vec<_>>().await?.iter().sum();
    println!("sent {} commands, {twice} of them twice", commands.len());
    for reading in 0..options.readings {
        let celsius = 4.0 + f64::from(reading) / 10.0;
        bus.publish(&TemperatureReading { reading, celsius })
            .await?;
    }
    let patience = Duration::from_secs(options.timeout.into());
    let missing = shipments.wait(patience, |_| {}).await;
    for command in &commands {
        let outcome = if shipments.includes(command.invoice_id) {
            "shipped"
        } else {
            "NOT SHIPPED"
        };
        println!(
            "{} {} {outcome}",
            command.number,
            document(bus, command).await
        );
    }
    if missing == 0 {
        println!("all {} shipped", commands.len());
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{missing} of {} did not ship: nothing came for {} s",
        commands.len(),
        options.timeout
    );
    Ok(ExitCode::FAILURE)
}

/// What the invoice service says about it, in words.
async fn document(bus: &Bus, command: &CreateInvoice) -> String {
    match client::ask(bus, &command.number).await {
        Ok(Some(document)) => {
            let cents = document.amount_cents;
            format!("{} {:4}.{:02}", document.customer, cents / 100, cents % 100)
        }
        Ok(None) => "(no such invoice)".to_owned(),
        Err(error) => format!("({error})"),
    }
}
