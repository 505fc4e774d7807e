//! Messages on their way into the table, and out of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use bus_core::send::{MessageMetadata, MessageRecord, RecordError, SealedMessage, TargetRecord};
use bus_core::topology::Topology;
use sqlx::{Database, Transaction};
use uuid::Uuid;

use crate::backend::Backend;
use crate::bounded;
use crate::detached::to_the_end;
use crate::error::{SqlError, SqlErrorKind};
use crate::row::{OutboxRow, WaitingRow};
use crate::sql::Sql;

/// Messages as rows, with the topologies that they name.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) rows: Vec<OutboxRow>,
    pub(crate) topologies: BTreeMap<Uuid, Arc<Topology>>,
}

impl Rows {
    pub(crate) fn of(messages: &[SealedMessage], partitions: u16) -> Self {
        let mut rows = Self::default();
        for sealed in messages {
            let row = row_of(sealed, partitions);
            if let (Some(id), Some(topology)) = (row.topology, sealed.topology()) {
                rows.topologies
                    .entry(id)
                    .or_insert_with(|| Arc::clone(topology));
            }
            rows.rows.push(row);
        }
        rows
    }

    /// The topologies without the rows, and the rows.
    pub(crate) fn split(self) -> (Self, Vec<OutboxRow>) {
        let topologies = Self {
            rows: Vec::new(),
            topologies: self.topologies,
        };
        (topologies, self.rows)
    }

    /// Commits the transaction in which they were written, and wakes the relay.
    pub(crate) async fn commit<DB: Backend>(
        self,
        sql: &Sql<DB>,
        tx: Transaction<'static, DB>,
    ) -> Result<(), SqlError> {
        let sql = sql.clone();
        to_the_end(async move {
            tx.commit().await?;
            sql.learn_topologies(self.topologies.into_keys());
            if self.rows.iter().any(|row| row.due.is_some()) {
                sql.shared().wake.schedule();
            }
            if !self.rows.is_empty() {
                sql.wake();
            }
            Ok::<_, SqlError>(())
        })
        .await
    }

    /// Writes the rows, as the last statements of a transaction.
    pub(crate) async fn write<DB: Backend>(
        &self,
        sql: &Sql<DB>,
        conn: &mut <DB as Database>::Connection,
        mark: Option<i64>,
    ) -> Result<(), SqlError> {
        let unknown = self
            .topologies
            .iter()
            .filter(|(id, _)| !sql.knows_topology(id));
        let unknown = unknown.map(|(id, topology)| Ok((*id, content(topology)?)));
        let unknown = unknown.collect::<Result<Vec<_>, SqlError>>()?;
        // First of all, as it shows that the transaction is not ended.
        DB::write(conn, sql.names(), &self.rows, mark).await?;
        if !unknown.is_empty() {
            DB::write_topologies(conn, sql.names(), &unknown).await?;
        }
        Ok(())
    }
}

fn content(topology: &Topology) -> Result<String, SqlError> {
    serde_json::to_string(topology).map_err(|error| {
        let text = format!("the topology of a message cannot be written: {error}");
        SqlError::new(SqlErrorKind::Database, text).with_source(error)
    })
}

fn row_of(sealed: &SealedMessage, partitions: u16) -> OutboxRow {
    let MessageRecord { mut metadata, body } = sealed.to_record();
    let due = metadata.due.take().filter(|due| *due > SystemTime::now());
    let token = due.and_then(|_| metadata.schedule_token.take());
    OutboxRow {
        part: partition(&metadata, partitions),
        ordering_key: metadata.ordering_key.clone().map(bounded::text),
        destination: bounded::text(destination(&metadata.target)),
        topology: topology_of(&metadata.target),
        metadata: metadata.to_json(),
        body,
        due,
        token: token.map(Uuid::from),
    }
}

/// The partition of a message: that of its ordering key, else of its id.
fn partition(metadata: &MessageMetadata, partitions: u16) -> i16 {
    if partitions < 2 {
        return 0;
    }
    let key = metadata
        .ordering_key
        .as_ref()
        .or(metadata.message_id.as_ref());
    let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, key.map_or(&[], |key| key.as_bytes()));
    let part = hash.as_u128() % u128::from(partitions);
    i16::try_from(part).unwrap_or_default()
}

fn destination(target: &TargetRecord) -> String {
    match target {
        TargetRecord::Exchange { name, .. } => format!("exchange:{name}"),
        TargetRecord::Queue(name) => format!("queue:{name}"),
        TargetRecord::Inbox(name) => format!("inbox:{name}"),
    }
}

fn topology_of(target: &TargetRecord) -> Option<Uuid> {
    match target {
        TargetRecord::Exchange { topology, .. } => *topology,
        TargetRecord::Queue(_) | TargetRecord::Inbox(_) => None,
    }
}

/// The message of a row, with the topology that it names.
pub(crate) fn message_of(
    row: WaitingRow,
    topology: Option<Arc<Topology>>,
) -> Result<SealedMessage, RecordError> {
    let record = MessageRecord {
        metadata: MessageMetadata::from_json(&row.metadata)?,
        body: row.body.into(),
    };
    SealedMessage::from_record(record, |_| topology)
}
