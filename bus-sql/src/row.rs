//! Rows of the outbox: messages as plain data.

use std::time::SystemTime;

use bytes::Bytes;
use sqlx::{FromRow, Row};
use uuid::Uuid;

/// Row of the outbox, for those who insert it with another library.
///
/// [`Sql::insert_statement`](crate::Sql::insert_statement) has the statement.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OutboxRow {
    /// Partition, from 0: its rows are sent in order by one relay at a time.
    pub part: i16,
    /// Key of messages whose order is kept.
    pub ordering_key: Option<String>,
    /// Exchange or queue, for people.
    pub destination: String,
    /// Id of the topology that is declared before the message is sent.
    pub topology: Option<Uuid>,
    /// Metadata of the message, as JSON.
    pub metadata: String,
    /// Body of the message.
    pub body: Bytes,
    /// Time before which it does not leave; `None` is at once.
    pub due: Option<SystemTime>,
    /// Token by which it can be cancelled before it is due.
    pub token: Option<Uuid>,
}

/// Row that waits to be sent.
#[derive(Clone, Debug)]
pub struct WaitingRow {
    pub(crate) id: i64,
    pub(crate) ordering_key: Option<String>,
    pub(crate) destination: String,
    pub(crate) topology: Option<Uuid>,
    pub(crate) metadata: String,
    pub(crate) body: Vec<u8>,
    /// Attempts that were refused.
    pub(crate) attempts: i16,
}

/// Row of the outbox that was edited by other means, and cannot be read.
#[derive(Clone, Debug)]
pub struct BrokenRow {
    pub(crate) id: i64,
    pub(crate) reason: String,
}

/// Columns of a [`WaitingRow`], in the order of its fields.
type Columns = (
    i64,
    Option<String>,
    String,
    Option<Uuid>,
    String,
    Vec<u8>,
    i16,
);

/// Reads a row that waits; one that cannot be read must not hold up the others.
pub(crate) fn waiting<'r, R>(row: &'r R) -> sqlx::Result<Result<WaitingRow, BrokenRow>>
where
    R: Row,
    Columns: FromRow<'r, R>,
    (i64,): FromRow<'r, R>,
{
    let (id,) = FromRow::from_row(row)?;
    let columns: sqlx::Result<Columns> = FromRow::from_row(row);
    Ok(match columns {
        Ok((id, ordering_key, destination, topology, metadata, body, attempts)) => Ok(WaitingRow {
            id,
            ordering_key,
            destination,
            topology,
            metadata,
            body,
            attempts,
        }),
        Err(error) => Err(BrokenRow {
            id,
            reason: format!("the row cannot be read: {error}"),
        }),
    })
}
