//! Topologies that messages name.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bus_core::topology::Topology;
use uuid::Uuid;

use crate::backend::Backend;
use crate::error::SqlError;
use crate::sql::Sql;

/// Topologies that were read, each once.
#[derive(Debug, Default)]
pub(super) struct Topologies(HashMap<Uuid, Arc<Topology>>);

impl Topologies {
    /// The topology of this id; `None` if there is none that can be read.
    pub(super) async fn find<DB: Backend>(
        &mut self,
        sql: &Sql<DB>,
        id: Uuid,
    ) -> Result<Option<Arc<Topology>>, SqlError> {
        if let Some(known) = self.0.get(&id) {
            return Ok(Some(Arc::clone(known)));
        }
        let content = match DB::topology(sql.pool(), sql.names(), id).await {
            Ok(Some(content)) => content,
            Ok(None) => return Ok(None),
            Err(error @ sqlx::Error::ColumnDecode { .. }) => return Ok(unreadable(id, &error)),
            Err(error) => return Err(error.into()),
        };
        match serde_json::from_str(&content) {
            Ok(topology) => {
                let topology = Arc::new(topology);
                self.0.insert(id, Arc::clone(&topology));
                Ok(Some(topology))
            }
            Err(error) => Ok(unreadable(id, &error)),
        }
    }
}

/// Reports a topology that was edited by other means: its messages are parked.
fn unreadable<T>(id: Uuid, error: &impl fmt::Display) -> Option<T> {
    tracing::error!(%id, %error, "a topology of the outbox cannot be read");
    None
}
