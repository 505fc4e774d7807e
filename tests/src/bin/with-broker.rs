//! `with-broker COMMAND …`: runs a command with `AMQP_URL` set to a broker that lives as long as the command.
#![allow(clippy::print_stderr)] // a command-line program

use std::process::{Command, ExitCode};

use bus_tests::Broker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("with-broker: say which command to run");
        return ExitCode::from(2);
    };
    let url = Broker::shared().await.url();
    let ended = Command::new(&program)
        .args(arguments)
        .env("AMQP_URL", url)
        .status();
    match ended {
        Ok(status) => {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            ExitCode::from(code.unwrap_or(1))
        }
        Err(error) => {
            eprintln!("with-broker: {} cannot be run: {error}", program.display());
            ExitCode::from(127)
        }
    }
}
