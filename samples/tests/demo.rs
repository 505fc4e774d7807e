//! The demo as people run it: its exit status and the figures of its table.

use std::collections::HashMap;
use std::path::Path;

use bus_tests::Broker;

use crate::support::Program;

mod support;

const DEMO: &str = env!("CARGO_BIN_EXE_demo");

/// The rows of a table: label and figure. The work of machines has several figures and is left out.
fn figures(output: &str) -> HashMap<&str, usize> {
    let figure = |line: &'_ str| -> Option<(usize, usize)> {
        let (label, value) = line.rsplit_once("  ")?;
        Some((label.trim_end().len(), value.trim().parse().ok()?))
    };
    output
        .lines()
        .filter_map(|line| figure(line).map(|(end, value)| (line[..end].trim_start(), value)))
        .collect()
}

/// How many deliveries of a service each machine handled.
fn machines(output: &str, service: &str) -> Vec<usize> {
    let line = output
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(service))
        .unwrap_or_default();
    line.split_whitespace()
        .map(|count| count.parse().expect("a count"))
        .collect()
}

async fn run(arguments: &[&str]) -> String {
    let (status, output) = Program::start(DEMO, arguments).end().await;
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(output.contains("the numbers agree"), "{output}");
    output
}

fn assert_figures(output: &str) {
    let figures = figures(output);
    let of = |label: &str| {
        *figures
            .get(label)
            .unwrap_or_else(|| panic!("no `{label}` in\n{output}"))
    };
    let twice = of("of them sent twice");
    assert_eq!(of("commands sent"), 200);
    assert_eq!(of("of them prepaid"), 66);
    // One in five of 200, and nearly seven standard deviations on either side.
    assert!((5..=78).contains(&twice), "{twice}");
    // What a machine had in hand when it died comes again.
    assert!(of("duplicates ignored") >= twice);
    assert!(of("copies tapped") >= 200 + twice);
    assert_eq!(of("different messages"), 200);
    assert_eq!(of("invoices"), 200);
    assert_eq!(of("payments"), 134);
    assert_eq!(of("shipments"), 200);
    assert_eq!(of("seen by the client"), 200);
    assert_eq!(of("invoices while shipping was down"), 100);
    assert_eq!(of("shipped meanwhile"), 0);
    assert_eq!(of("shipped when it was up"), 100);
    assert_eq!(of("documents"), 200);
    assert!(of("shown, at most once") <= 200);
    assert!(of("attempts that failed") > 0);
    assert!(of("deliveries that a death cut") > 0, "{output}");
    assert_eq!(of("deliveries that failed for good"), 0);
    let invoicing = machines(output, "invoice-service");
    assert_eq!(invoicing.len(), 3, "{output}");
    assert!(invoicing.iter().sum::<usize>() >= 200 + twice, "{output}");
    assert!(
        invoicing.iter().all(|count| *count > 0),
        "a machine got nothing to do: {invoicing:?}"
    );
}

const UNRELIABLE: [&str; 8] = [
    "--commands",
    "200",
    "--fail-rate",
    "0.2",
    "--duplicates",
    "0.2",
    "--instances",
    "3",
];

#[tokio::test]
async fn the_numbers_agree_in_memory_where_messages_fail_or_come_twice_and_a_machine_dies() {
    let output = run(&UNRELIABLE).await;
    assert_figures(&output);
    assert!(
        output.contains("machine 1 has died in the middle of"),
        "{output}"
    );
    let (_, folder) = output.split_once("databases in ").expect("it says where");
    let folder = folder.lines().next().expect("a line");
    assert!(!Path::new(folder).exists(), "{folder} is left behind");
}

#[tokio::test]
async fn the_numbers_agree_on_rabbitmq_also_of_two_demos_at_once() {
    let url = Broker::controlled().await.url();
    let arguments: Vec<_> = UNRELIABLE.into_iter().chain(["--amqp", url]).collect();
    let (first, second) = tokio::join!(run(&arguments), run(&arguments));
    assert_figures(&first);
    assert_figures(&second);
}

#[tokio::test]
async fn one_command_and_one_instance_are_enough() {
    let output = run(&[
        "--commands",
        "1",
        "--instances",
        "1",
        "--fail-rate",
        "1",
        "--duplicates",
        "1",
    ])
    .await;
    let figures = figures(&output);
    assert_eq!(figures["invoices"], 1);
    assert!(figures["duplicates ignored"] >= 1);
    assert_eq!(figures["shown, at most once"], 0);
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused() {
    for (arguments, reason) in [
        (["--fail-rate", "1.5"], "from 0 to 1"),
        (["--duplicates", "some"], "from 0 to 1"),
        (["--commands", "0"], "1..="),
        (["--instances", "0"], "1..="),
    ] {
        let (status, output) = Program::start(DEMO, &arguments).end().await;
        assert_eq!(status.code(), Some(2), "{output}");
        assert!(
            output.contains(arguments[0]) && output.contains(reason),
            "{output}"
        );
    }
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_named_and_the_demo_fails() {
    // Bound and never listened to by a broker: the port answers nothing.
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = port.local_addr().expect("bound").to_string();
    let (status, output) = Program::start(DEMO, &["--amqp", &format!("amqp://{address}")])
        .end()
        .await;
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(
        output.contains("no broker answered") && output.contains(&address),
        "{output}"
    );
}
