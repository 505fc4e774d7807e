//! A real MassTransit as the second baseline: the program that `make interop-peer` builds.

use std::path::PathBuf;
use std::process::Stdio;

use bus_tests::acme::OrderShipped;
use bus_tests::peer::{Command as Order, Peer};
use tokio::process::Command;
use uuid::Uuid;

use crate::load::{IN_FLIGHT, Load, Store, Work};
use crate::raw::{self, Sample};

/// Bytes of text in its messages: its bodies are then as long as ours.
const TEXT: usize = 130;

/// The queue that it starts up for.
const SHIPPED: &str = "mt-shipped";

const VARIABLE: &str = "MASSTRANSIT_PEER";

/// The program, where it is present.
pub(crate) fn program() -> Option<PathBuf> {
    let program = std::env::var_os(VARIABLE).map(PathBuf::from);
    program.filter(|program| program.is_file())
}

fn command() -> Command {
    Command::new(program().expect("it was there when the run began"))
}

/// The program that carries out a load.
pub(crate) fn bench(load: Load, url: &str, count: usize) -> Command {
    if load.work == Work::StartUp {
        let mut command = command();
        command.args(["serve", url, "--only", SHIPPED]);
        return command;
    }
    let (what, in_flight) = match load.work {
        Work::Publish => ("publish", IN_FLIGHT),
        Work::Consume => ("consume", IN_FLIGHT),
        Work::Request => ("request", load.asking),
        Work::InMemory => ("memory", IN_FLIGHT),
        _ => ("e2e", IN_FLIGHT),
    };
    bench_of(what, load.store, url, count, in_flight)
}

fn bench_of(what: &str, store: Store, url: &str, count: usize, in_flight: usize) -> Command {
    let mut command = command();
    command.args(["bench", url, what]);
    command.args([count, in_flight, TEXT].map(|number| number.to_string()));
    if store == Store::Quorum {
        command.env("QUORUM", "1");
    }
    command
}

/// The queue of its loads.
pub(crate) fn queue(store: Store) -> &'static str {
    match store {
        Store::Classic => "mt-bench",
        Store::Quorum => "mt-bench-quorum",
    }
}

/// Declares the queue of its loads.
pub(crate) async fn declare(url: &str, store: Store) {
    finish(bench_of("declare", store, url, 1, IN_FLIGHT)).await;
}

/// A message of it, as it comes to the broker.
pub(crate) async fn sample(url: &str, store: Store) -> Sample {
    declare(url, store).await;
    finish(bench_of("publish", store, url, 1, 1)).await;
    raw::sample(url, queue(store)).await
}

async fn finish(mut command: Command) {
    let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    assert!(ended.await.expect("it runs").success(), "{command:?}");
}

/// Leaves a message in the queue that it starts up for.
pub(crate) async fn leave_a_message(url: &str) {
    Peer::start(url, &[SHIPPED]).await.stop().await;
    let sender = Peer::start(url, &[]).await;
    let shipped = OrderShipped {
        correlation_id: Uuid::new_v4(),
        order_number: "A-1007".to_owned(),
        carrier: "Acme".to_owned(),
    };
    sender.does(Order::publish("OrderShipped", &shipped)).await;
    sender.stop().await;
}
