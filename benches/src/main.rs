//! `make bench`, or `make bench CASE=publish` for the cases whose names contain a text.
//!
//! Each case runs ours and its baseline in turn, on the same broker, several times, and prints one line:
//! `case=… bus=… baseline=… ratio=…`. The exit status is 1 if a case is below its bar.
#![allow(clippy::print_stdout, clippy::print_stderr)] // the lines are the output of the program

mod bus;
mod case;
mod figures;
mod load;
mod memory;
mod raw;
mod stage;

use std::process::ExitCode;

use case::{Outcome, Plan};

#[tokio::main]
async fn main() -> ExitCode {
    // On a worker thread, as the code of a service is: the main thread must be woken for each message.
    tokio::spawn(run()).await.unwrap_or(ExitCode::FAILURE)
}

async fn run() -> ExitCode {
    let plan = Plan::from_environment();
    let mut below = Vec::new();
    for case in case::all() {
        if !case.name.contains(&plan.filter) {
            continue;
        }
        eprintln!(
            "{}: {} rounds of {} messages",
            case.name, plan.rounds, plan.count
        );
        for outcome in case.run(&plan).await {
            println!("{outcome}");
            if !outcome.meets_its_bar() {
                below.push(outcome);
            }
        }
    }
    report(&below)
}

fn report(below: &[Outcome]) -> ExitCode {
    if below.is_empty() {
        println!("every case meets its bar");
        return ExitCode::SUCCESS;
    }
    println!("below their bars:");
    for outcome in below {
        println!("  {outcome}");
    }
    ExitCode::FAILURE
}
