//! Checks that the pool has the connections that are used at once.

use crate::backend::Backend;
use crate::error::{SqlError, SqlErrorKind};
use crate::sql::Sql;

/// Refuses a pool with which the relay could never work.
///
/// Reports one that is too small for it.
pub(crate) async fn check_relay<DB: Backend>(
    sql: &Sql<DB>,
    partitions: usize,
) -> Result<(), SqlError> {
    sql.shared().demand.note(|users| users.relays = partitions);
    let connections = size(sql);
    if DB::NOTIFIES && connections < 2 {
        let text = "the pool has a single connection, with which the relay waits for notifications: give it three \
                    and one for each delivery that is consumed at once";
        return Err(SqlError::new(SqlErrorKind::Configuration, text));
    }
    let needed = DB::connections(sql.pool(), 0, partitions).await?;
    if connections < needed {
        tracing::warn!(
            connections,
            needed,
            "the pool has too few connections for the relay, and messages of the outbox wait"
        );
    }
    Ok(())
}

/// Reports a pool that is too small for an endpoint and those before it.
pub(crate) async fn check_endpoint<DB: Backend>(
    sql: &Sql<DB>,
    endpoint: &str,
    concurrency: usize,
) -> Result<(), SqlError> {
    let mut is_known = false;
    let (deliveries, relays) = sql.shared().demand.note(|users| {
        let before = users.deliveries.insert(endpoint.to_owned(), concurrency);
        is_known = before == Some(concurrency);
    });
    if is_known {
        return Ok(());
    }
    let connections = size(sql);
    let needed = DB::connections(sql.pool(), deliveries, relays).await?;
    if connections < needed {
        tracing::warn!(
            endpoint,
            concurrency,
            connections,
            needed,
            "the pool has too few connections, and deliveries wait for one: give it as many as are needed, or lower \
             the concurrency"
        );
    }
    Ok(())
}

fn size<DB: Backend>(sql: &Sql<DB>) -> usize {
    let connections = sql.pool().options().get_max_connections();
    usize::try_from(connections).unwrap_or(usize::MAX)
}
