//! Database servers to test against: started where they are installed, or named by a variable.

use std::path::PathBuf;

mod postgres;
mod process;
mod redis;

pub use postgres::{Database, PostgresServer};
pub use redis::RedisServer;

/// The address in an environment variable, if it is set.
fn given(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|url| !url.is_empty())
}

/// A program in one of `folders`, or else on the path.
fn find(program: &str, folders: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<_> = std::env::split_paths(&path).collect();
    let places = folders.into_iter().chain(on_path);
    places
        .map(|folder| folder.join(program))
        .find(|program| program.is_file())
}
