//! Rows of the outbox: messages as plain data.

use std::time::SystemTime;

use bytes::Bytes;
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
