//! Tells the crate which compiler builds it: peers are shown the runtime of each sender.
#![allow(
    clippy::print_stdout,
    reason = "standard output is how a build script answers cargo"
)]

use std::env;
use std::process::Command;

fn main() {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc)
        .arg("--version")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .and_then(|text| text.split_whitespace().nth(1).map(str::to_owned));
    println!(
        "cargo::rustc-env=BUS_CORE_RUSTC={}",
        version.as_deref().unwrap_or("unknown")
    );
    println!("cargo::rerun-if-changed=build.rs");
}
