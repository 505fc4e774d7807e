//! `cargo run -p samples --bin demo -- --commands 1000 --instances 3 --fail-rate 0.2 --duplicates
//! 0.1`
//!
//! All services in one process, on the in-memory transport or, with `--amqp`, on RabbitMQ, and on
//! SQLite in temporary files. Consumers fail, commands come twice, and a machine with an instance
//! of every service dies in the middle. Ends with a table of what happened; the exit status is 0
//! only if its numbers agree.
//!
//! The death of a machine is that of its tasks: each ends at the await at which it is. Services
//! that are killed as processes are in `samples/tests/instances.rs`.
//!
//! - `options`: what the demo is asked to do.
//! - `business`: the machines and their services, every one on a bus and a connection of its own.
//! - `databases`: the files of the services, and what is in them in the end.
//! - `run`: what the client does, in order.
//! - `report`: the figures, and whether they agree.
#![allow(clippy::print_stdout)] // the table is the output of the program

use std::process::ExitCode;

use clap::Parser;
use samples::signals::Signals;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use crate::options::Options;

mod apart;
mod business;
mod databases;
mod medium;
mod options;
mod progress;
mod report;
mod run;
mod services;
mod table;
mod tally;
mod waiting;

#[path = "../invoice-service.rs"]
#[expect(dead_code, reason = "here it is a module, and its `main` another's")]
mod invoice;
#[path = "../payment-service.rs"]
#[expect(dead_code, reason = "as above")]
mod payment;
#[path = "../shipping-service.rs"]
#[expect(dead_code, reason = "as above")]
mod shipping;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    // Attempts that fail on purpose are no news here; the report tells of those that should not
    // have.
    options
        .log
        .install(Targets::new().with_target("bus_rabbitmq", LevelFilter::WARN));
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return failed(&error),
    };
    tokio::select! {
        outcome = run::run(&options) => match outcome {
            Ok(report) => {
                println!("{report}");
                if report.agrees() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            Err(error) => failed(&*error),
        },
        // Dropped here, the buses stop, and a broker drops what the run had declared.
        signal = signals.next() => failed(&format!("stopped by {signal} before the end")),
    }
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("the demo failed: {error}");
    ExitCode::FAILURE
}
