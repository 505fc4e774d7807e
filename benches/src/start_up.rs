//! From the start of a process to the first message that it consumes.

use std::process::Stdio;
use std::time::Instant;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::child::Place;
use crate::contender::Contender;
use crate::figures::Figures;
use crate::load::{Load, QUEUE};
use crate::{child, masstransit, raw};

/// Starts a contender whose queue exists and holds one message.
pub(crate) async fn run(contender: Contender, load: Load, place: &Place) -> Figures {
    let url = &place.url;
    if contender == Contender::MassTransit {
        masstransit::leave_a_message(url).await;
    } else {
        let sample = child::sample(url, load).await;
        raw::fill(url, QUEUE, &sample, 1).await;
    }
    Figures {
        start_up: milliseconds(contender.command(load, place, 1)).await,
        ..Figures::default()
    }
}

async fn milliseconds(mut command: Command) -> f64 {
    let started = Instant::now();
    let mut running = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program of a contender");
    let mut lines = BufReader::new(running.stdout.take().expect("piped")).lines();
    loop {
        let line = lines.next_line().await.expect("its output");
        let line = line.expect("it consumes before it ends");
        if line.contains(r#""event":"consumed""#) {
            break;
        }
    }
    let passed = started.elapsed().as_secs_f64() * 1e3;
    drop(running.stdin.take());
    // What it still says must find a reader, or it cannot end.
    while let Ok(Some(_)) = lines.next_line().await {}
    assert!(running.wait().await.expect("it runs").success());
    passed
}
