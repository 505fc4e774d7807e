//! `make bench`, or `make bench CASE=publish` for the lines whose names contain a text.
//!
//! Each case runs ours and its baselines in turn, each in a process of its own, on the same broker, several times, and
//! prints a line for each comparison: `case=… bus=… baseline=… ratio=…`. The exit status is 1 if a ratio is on the wrong
//! side of its bar.
#![allow(clippy::print_stdout, clippy::print_stderr)] // the lines are the output of the program

mod backlog;
mod bus;
mod bus_request;
mod case;
mod cases;
mod child;
mod confirms;
mod contender;
mod curve;
mod database;
mod delayed;
mod figures;
mod inbox;
mod load;
mod masstransit;
mod memory;
mod message;
mod outbox;
mod outcome;
mod plan;
mod plot;
mod process;
mod progress;
mod raw;
mod raw_request;
mod round;
mod start_up;
mod store;
mod vhost;

use std::process::ExitCode;
use std::time::Instant;

use child::Job;
use outcome::Outcome;
use plan::Plan;

#[tokio::main]
async fn main() -> ExitCode {
    // On a worker thread, as the code of a service is: the main thread must be woken for each message.
    let ended = match Job::from_arguments() {
        Some(job) => tokio::spawn(async {
            job.run().await;
            ExitCode::SUCCESS
        }),
        None => tokio::spawn(run()),
    };
    ended.await.unwrap_or(ExitCode::FAILURE)
}

async fn run() -> ExitCode {
    let started = Instant::now();
    let plan = Plan::from_environment();
    if !plan.masstransit {
        eprintln!(
            "MassTransit is left out: MASSTRANSIT_PEER names no program. 'make interop-peer' builds it."
        );
    }
    let mut outcomes = Vec::new();
    let mut tell = |outcome: Outcome| {
        println!("{outcome}");
        outcomes.push(outcome);
    };
    for case in cases::all() {
        if let Some(case) = case.selected(&plan) {
            case.run(&plan).await.into_iter().for_each(&mut tell);
        }
    }
    for curves in curve::all() {
        if curves.is_selected(&plan) {
            curves.run(&plan, &mut tell).await;
        }
    }
    eprintln!("{} minutes", started.elapsed().as_secs().div_ceil(60));
    report(&plan, &outcomes)
}

fn report(plan: &Plan, outcomes: &[Outcome]) -> ExitCode {
    let below: Vec<_> = outcomes
        .iter()
        .filter(|outcome| !outcome.meets_its_bar())
        .collect();
    if outcomes.is_empty() {
        eprintln!(
            "nothing was measured: no case that can run has {:?} in its name",
            plan.filter
        );
        return ExitCode::FAILURE;
    }
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
