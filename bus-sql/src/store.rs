//! Statements that both databases have, each in its own words.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use sqlx::{Database, Pool, Result, Transaction};
use uuid::Uuid;

use crate::error::SqlError;
use crate::migration::{Installed, Migration};
use crate::names::Names;
use crate::row::{BrokenRow, OutboxRow, WaitingRow};
use crate::views::{Backlog, Parked};

/// Transactions, and the tables themselves.
#[async_trait]
pub trait Schema: Database {
    /// All migrations, from the first.
    fn migrations() -> &'static [Migration];

    /// Begins a transaction that may write.
    async fn begin(pool: &Pool<Self>) -> Result<Transaction<'static, Self>>;

    /// Ends a transaction that is not committed; it may be over already.
    async fn abandon(tx: Transaction<'static, Self>);

    /// Returns the version of the tables; `None` without tables.
    ///
    /// # Errors
    /// `Schema` if the table of versions is not that of this crate.
    async fn installed(pool: &Pool<Self>, names: &Names) -> Result<Option<Installed>, SqlError>;

    /// Applies the migrations that are missing; several processes may do so at once.
    async fn migrate(pool: &Pool<Self>, names: &Names, partitions: u16) -> Result<(), SqlError>;

    /// Returns the number of partitions of the outbox.
    async fn partitions(pool: &Pool<Self>, names: &Names) -> Result<u16>;

    /// Returns the columns of a table; none without the table.
    async fn columns(pool: &Pool<Self>, names: &Names, table: &str) -> Result<Vec<String>>;

    /// Returns those of these privileges on tables that the user lacks.
    async fn missing_rights(
        pool: &Pool<Self>,
        names: &Names,
        needed: &[(&str, &str)],
    ) -> Result<Vec<String>>;

    /// Returns how many connections deliveries and relays use at once.
    async fn connections(pool: &Pool<Self>, deliveries: usize, relays: usize) -> Result<usize>;
}

/// Key by which a message is known in the inbox.
#[derive(Clone, Debug)]
pub struct InboxKey {
    pub(crate) endpoint: String,
    pub(crate) key: String,
    /// Identifies the content.
    pub(crate) fingerprint: Uuid,
}

/// Outcome of [`InboxTable::claim`].
#[derive(Clone, Debug)]
pub enum Claim {
    /// The key is new, or there is none.
    ///
    /// The mark shows at the end that the transaction is the same.
    Fresh { mark: Option<i64> },
    /// The key was handled before.
    Handled {
        fingerprint: Uuid,
        replies: Option<Vec<u8>>,
    },
    /// Another transaction has claimed the key and has not ended; this one is aborted.
    InProgress,
}

/// Messages that were handled.
#[async_trait]
pub trait InboxTable: Database {
    /// Claims a key in a transaction; waits a moment for another one that has it.
    async fn claim(
        conn: &mut Self::Connection,
        names: &Names,
        key: Option<&InboxKey>,
    ) -> Result<Claim>;

    /// Keeps the replies for a duplicate.
    async fn keep_replies(
        conn: &mut Self::Connection,
        names: &Names,
        key: &InboxKey,
        replies: &[u8],
    ) -> Result<()>;

    /// Forgets some of the messages that were handled so long ago; returns how many.
    async fn prune_inbox(pool: &Pool<Self>, names: &Names, age: Duration) -> Result<u64>;
}

/// Messages that are to leave.
#[async_trait]
pub trait OutboxTable: Database {
    /// Statement of other libraries for a row that leaves at once.
    const INSERT: &'static str;

    /// Statement of other libraries for a row that is due later.
    const SCHEDULE: &'static str;

    /// Writes the rows, as the last statements of a transaction.
    ///
    /// # Errors
    /// `Ended` if the transaction is not the one of the mark, or aborted.
    async fn write(
        conn: &mut Self::Connection,
        names: &Names,
        rows: &[OutboxRow],
        mark: Option<i64>,
    ) -> Result<(), SqlError>;

    /// Writes topologies that are not there.
    async fn write_topologies(
        conn: &mut Self::Connection,
        names: &Names,
        topologies: &[(Uuid, String)],
    ) -> Result<()>;

    /// Returns the content of a topology.
    async fn topology(pool: &Pool<Self>, names: &Names, id: Uuid) -> Result<Option<String>>;

    /// Deletes what was scheduled under a token; returns how many.
    async fn cancel(conn: &mut Self::Connection, names: &Names, token: Uuid) -> Result<u64>;
}

/// Rows that a relay does not want to read.
#[derive(Clone, Debug, Default)]
pub struct Without {
    pub(crate) rows: Vec<i64>,
    /// Destinations; rows with an ordering key are read all the same.
    pub(crate) destinations: Vec<String>,
    /// Ordering keys.
    pub(crate) keys: Vec<String>,
}

/// Row that waits, if it can be read.
pub(crate) type Waiting = std::result::Result<WaitingRow, BrokenRow>;

/// Work of the relay. Each call is a transaction of its own.
#[async_trait]
pub trait RelayTable: Database {
    /// The wait between two looks for messages of other processes.
    const POLL: Duration;

    /// `true` if [`notify`](Self::notify) reaches other processes.
    const NOTIFIES: bool;

    /// Takes or renews the lease of a partition.
    ///
    /// Returns its epoch, `None` while it is another's.
    async fn lease(
        pool: &Pool<Self>,
        names: &Names,
        part: i16,
        owner: Uuid,
        lease: Duration,
    ) -> Result<Option<i64>>;

    /// Gives the lease of a partition back.
    async fn release(pool: &Pool<Self>, names: &Names, part: i16, owner: Uuid) -> Result<()>;

    /// Returns the first rows after `after`, in order, without those named.
    async fn waiting(
        pool: &Pool<Self>,
        names: &Names,
        part: i16,
        after: i64,
        without: &Without,
        limit: i64,
    ) -> Result<Vec<Waiting>, SqlError>;

    /// Deletes rows that have left.
    async fn delete(pool: &Pool<Self>, names: &Names, part: i16, ids: &[i64]) -> Result<()>;

    /// Counts a failed attempt for each row.
    async fn count_attempt(pool: &Pool<Self>, names: &Names, part: i16, ids: &[i64]) -> Result<()>;

    /// Sets a row aside, with the reason.
    async fn park(pool: &Pool<Self>, names: &Names, part: i16, id: i64, reason: &str)
    -> Result<()>;

    /// Moves what is due into the outbox; returns how many.
    async fn move_due(pool: &Pool<Self>, names: &Names, part: i16) -> Result<u64>;

    /// Returns the time until something is due; `None` if nothing is scheduled.
    async fn next_due(pool: &Pool<Self>, names: &Names, part: i16) -> Result<Option<Duration>>;

    /// Wakes the relays of other processes.
    async fn notify(pool: &Pool<Self>, names: &Names) -> Result<()>;

    /// Calls `woken` whenever another process notifies; ends with an error only.
    ///
    /// Never ends where the database cannot notify.
    async fn listen(
        pool: &Pool<Self>,
        names: &Names,
        woken: &(dyn Fn() + Send + Sync),
    ) -> Result<()>;
}

/// A key of the idempotency store that another claim has.
#[derive(Clone, Debug)]
pub struct Taken {
    pub(crate) fingerprint: Uuid,
    pub(crate) is_done: bool,
    pub(crate) replies: Option<Vec<u8>>,
}

/// Keys of the idempotency store.
#[async_trait]
pub trait IdempotencyTable: Database {
    /// Takes a key that is absent or whose time is over; returns `true` if it did.
    async fn take_key(
        pool: &Pool<Self>,
        names: &Names,
        key: &str,
        fingerprint: Uuid,
        claim: Uuid,
        lease: Duration,
    ) -> Result<bool>;

    /// Looks a key up whose time is not over.
    async fn look_up(pool: &Pool<Self>, names: &Names, key: &str) -> Result<Option<Taken>>;

    /// Prolongs a claim; returns `false` if it was lost.
    async fn extend(
        pool: &Pool<Self>,
        names: &Names,
        key: &str,
        claim: Uuid,
        lease: Duration,
    ) -> Result<bool>;

    /// Marks a key as done; returns `false` if the claim was lost.
    async fn complete(
        pool: &Pool<Self>,
        names: &Names,
        key: &str,
        claim: Uuid,
        replies: Option<Vec<u8>>,
        keep: Duration,
    ) -> Result<bool>;

    /// Deletes a claim that is not done.
    async fn give_up(pool: &Pool<Self>, names: &Names, key: &str, claim: Uuid) -> Result<()>;

    /// Deletes some of the keys whose time is over; returns how many.
    async fn prune_keys(pool: &Pool<Self>, names: &Names) -> Result<u64>;
}

/// Instance of a saga in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SagaRow {
    pub(crate) id: Uuid,
    /// 0 for a new one.
    pub(crate) revision: i64,
    /// `None` once it has finished.
    pub(crate) state: Option<String>,
    pub(crate) data: String,
    pub(crate) meta: String,
    /// Names and values of its keys, as JSON.
    pub(crate) keys: String,
}

/// Columns of an instance: id, revision, state, data, meta, keys.
pub(crate) type SagaColumns = (Uuid, i64, Option<String>, String, String, String);

impl From<SagaColumns> for SagaRow {
    fn from((id, revision, state, data, meta, keys): SagaColumns) -> Self {
        Self {
            id,
            revision,
            state,
            data,
            meta,
            keys,
        }
    }
}

/// Name of an instance of a saga.
#[derive(Clone, Copy, Debug)]
pub enum SagaName<'a> {
    Id(Uuid),
    /// Name and value of a key.
    Key(&'a str, &'a str),
}

/// Instances of sagas.
#[async_trait]
pub trait SagaTable: Database {
    /// Loads an instance; with a lock, it is this transaction's until its end.
    async fn load_saga(
        conn: &mut Self::Connection,
        names: &Names,
        saga: &str,
        name: SagaName<'_>,
        locks: bool,
    ) -> Result<Option<SagaRow>>;

    /// Saves an instance; returns `false` if it is there in another revision.
    async fn save_saga(
        conn: &mut Self::Connection,
        names: &Names,
        saga: &str,
        row: &SagaRow,
    ) -> Result<bool>;

    /// Takes a key for an instance; returns `false` if another one has it.
    async fn take_saga_key(
        conn: &mut Self::Connection,
        names: &Names,
        saga: &str,
        key: (&str, &str),
        id: Uuid,
    ) -> Result<bool>;

    /// Gives a key of an instance back.
    async fn drop_saga_key(
        conn: &mut Self::Connection,
        names: &Names,
        saga: &str,
        key: (&str, &str),
        id: Uuid,
    ) -> Result<()>;

    /// Forgets some of the instances that finished so long ago; returns how many.
    async fn prune_sagas(pool: &Pool<Self>, names: &Names, age: Duration) -> Result<u64>;
}

/// Views for operators.
#[async_trait]
pub trait OperatorTables: Database {
    /// Returns the size of the outbox.
    async fn backlog(pool: &Pool<Self>, names: &Names) -> Result<Backlog>;

    /// Returns the first parked rows.
    async fn parked(pool: &Pool<Self>, names: &Names, limit: i64) -> Result<Vec<Parked>>;

    /// Moves parked rows back into the outbox; returns how many.
    async fn unpark(pool: &Pool<Self>, names: &Names, ids: &[i64]) -> Result<u64>;

    /// Deletes parked rows; returns how many.
    async fn discard(pool: &Pool<Self>, names: &Names, ids: &[i64]) -> Result<u64>;
}

/// Times as microseconds since 1970.
pub(crate) fn micros(time: SystemTime) -> i64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// The time of so many microseconds since 1970.
pub(crate) fn time(micros: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros.try_into().unwrap_or_default())
}

/// A span of time that each database can add to its clock: a century at most.
pub(crate) fn span(duration: Duration) -> Duration {
    duration.min(Duration::from_hours(100 * 365 * 24))
}
