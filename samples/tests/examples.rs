//! The one-file examples: each runs, shows what it says, and stays small.
//!
//! `cargo test -p samples` builds them first; with `--test examples` alone, cargo does not:
//! `cargo build -p samples --examples` comes before it then.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;
use std::{env, fs};

/// The most lines that an example may have, imports included.
const LINES: usize = 50;

/// Each example with a part of its output.
const EXAMPLES: [(&str, &str); 21] = [
    ("at_most_once", "kilometre 1 is lost"),
    ("buffering", "1 command waits, as the endpoint is paused"),
    ("command", "10 commands created 10 invoices"),
    ("disorder", "95 on hand, in 20 orders"),
    ("http_handler", "A-7 is placed and announced"),
    ("idempotency", "1 of 2 commands was a duplicate"),
    ("middleware", "a tenant is required"),
    ("partition", "A-9: [1, 2, 3, 4, 5]"),
    ("publish_subscribe", "one event, 2 copies"),
    ("redelivery", "all are taken after 3 hours"),
    ("request_reply", "A-7: total 120"),
    ("retry", "120 cents: attempt 3"),
    ("routing_slip", "cancelled the flight"),
    ("saga", "A-8 is unpaid: Some(Overdue)"),
    ("shutdown", "1 command waits for the next start"),
    ("state", "1 payment; shipping consumed 2 messages"),
    ("testing", "InvoiceCreated { number: 7 }"),
    ("topic", "northern-carrier: north.coast"),
    ("transaction", "2 deliveries, 1 invoice"),
    ("two_replies", "5000 cents: declined"),
    ("wire_tap", "audit: [\"urn:message:Payments:InvoicePaid\"]"),
];

/// Returns the folder of the sources.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// Returns the time of the last change of a file, which has to exist.
fn modified(path: &Path) -> SystemTime {
    let time = fs::metadata(path).and_then(|metadata| metadata.modified());
    let advice = "`cargo build -p samples --examples` builds the examples";
    time.unwrap_or_else(|error| panic!("{}: {error}; {advice}", path.display()))
}

/// Runs the binary of an example, `target/<profile>/examples/<name>`.
///
/// A binary that is missing, or older than its source, is a failure.
fn run(name: &str, source: &Path) -> Output {
    let test = env::current_exe().expect("the test knows its path");
    let profile = test.ancestors().nth(2).expect("the test is in deps");
    let binary = profile.join("examples").join(name);
    let binary = binary.with_extension(env::consts::EXE_EXTENSION);
    assert!(
        modified(&binary) >= modified(source),
        "{name} is older than its source; `cargo build -p samples --examples` builds it"
    );
    let output = Command::new(&binary).env_remove("RUST_LOG").output();
    output.unwrap_or_else(|error| panic!("{} does not run: {error}", binary.display()))
}

#[test]
fn every_example_runs_and_is_short() {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(sources()).expect("the examples are there") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy();
        files.insert(name.into_owned());
    }
    let listed: BTreeSet<String> = EXAMPLES.map(|(name, _)| name.to_owned()).into();
    assert_eq!(files, listed, "every file has a line in this test");

    for (name, expected) in EXAMPLES {
        let path = sources().join(name).with_extension("rs");
        let source = fs::read_to_string(&path).expect("the source is text");
        let lines = source.lines().count();
        assert!(lines <= LINES, "{name} has {lines} lines");
        let command = format!("//! `cargo run -p samples --example {name}`");
        assert_eq!(source.lines().next(), Some(&*command), "{name}");

        let output = run(name, &path);
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}\n{stdout}\n{stderr}");
        assert!(stdout.contains(expected), "{name}\n{stdout}");
    }
}
