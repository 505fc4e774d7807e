//! A look at the settings of a server before keys are trusted to it.

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, ServerErrorKind, cmd};

/// Logs a warning for each setting with which the server may forget keys.
///
/// # Errors
/// If the server is a replica, or does not answer.
pub(crate) async fn inspect(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    let info: String = match cmd("INFO").query_async(connection).await {
        Ok(info) => info,
        Err(error) if matches!(error.kind(), ErrorKind::Server(ServerErrorKind::NoPerm)) => {
            tracing::debug!("the user may not run INFO: how Redis keeps its data is not known");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    if value(&info, "role") == Some("slave") {
        let kind = ErrorKind::Server(ServerErrorKind::ReadOnly);
        return Err((kind, "the server is a replica").into());
    }
    for warning in warnings(&info) {
        tracing::warn!("{warning}");
    }
    Ok(())
}

fn warnings(info: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(policy) = value(info, "maxmemory_policy").filter(|policy| *policy != "noeviction") {
        warnings.push(format!(
            "Redis drops keys when its memory is full (maxmemory-policy is {policy}), and messages may be handled \
             again: set maxmemory-policy to noeviction"
        ));
    }
    if value(info, "aof_enabled") == Some("0") {
        warnings.push(
            "Redis has no append-only file: a crash forgets the keys since the last snapshot, and messages may be \
             handled again: set appendonly to yes"
                .to_owned(),
        );
    }
    warnings
}

/// The value of a line `name:value`.
fn value<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = info.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(key, _)| *key == name)?;
    Some(value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_forget_keys_are_found() {
        let good = "# Memory\r\nmaxmemory_policy:noeviction\r\n# Persistence\r\naof_enabled:1\r\n";
        assert_eq!(warnings(good), [""; 0]);
        let bad = warnings("maxmemory_policy:allkeys-lru\r\naof_enabled:0\r\n");
        assert!(bad[0].contains("allkeys-lru"), "{bad:?}");
        assert!(bad[1].contains("appendonly"), "{bad:?}");
        assert_eq!(warnings("role:master\r\n"), [""; 0], "nothing is known");
    }
}
