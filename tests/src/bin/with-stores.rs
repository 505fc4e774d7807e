//! `with-stores COMMAND …`: runs a command with `POSTGRES_URL` and `REDIS_URL` set to servers that live as long as it.
#![allow(clippy::print_stderr)] // a command-line program

use std::process::{Command, ExitCode};

use bus_tests::{PostgresServer, RedisServer};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("with-stores: say which command to run");
        return ExitCode::from(2);
    };
    let (postgres, redis) = tokio::join!(PostgresServer::shared(), RedisServer::shared());
    let ended = Command::new(&program)
        .args(arguments)
        .env("POSTGRES_URL", postgres.url())
        .env("REDIS_URL", redis.url())
        .status();
    match ended {
        Ok(status) => {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            ExitCode::from(code.unwrap_or(1))
        }
        Err(error) => {
            eprintln!("with-stores: {} cannot be run: {error}", program.display());
            ExitCode::from(127)
        }
    }
}
