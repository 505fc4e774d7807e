//! The outbox of work outside of consumers, in a transaction of the user's own.

use std::fmt;
use std::sync::Arc;

use bus_core::send::{Sender, Sending};
use bus_core::transport::InvalidAddress;
use bus_core::{Address, Message};
use sqlx::Database;

use crate::backend::Backend;
use crate::error::SqlError;
use crate::held::Held;
use crate::outgoing::Rows;
use crate::row::OutboxRow;
use crate::sql::Sql;
use crate::store::micros;

impl<DB: Backend> Sql<DB> {
    /// Opens an outbox for messages of a transaction that the caller has.
    ///
    /// ```no_run
    /// # #[cfg(feature = "sqlite")]
    /// # async fn example(
    /// #     sql: bus_sql::Sql<bus_sql::sqlx::Sqlite>, bus: bus_core::Bus, order: impl bus_core::Message,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut tx = sql.pool().begin().await?;
    /// // … statements of the application …
    /// let outbox = sql.outbox(&bus.sender());
    /// outbox.publish(&order).await?; // held
    /// outbox.write(&mut tx).await?;  // rows of the same transaction
    /// tx.commit().await?;
    /// sql.wake();
    /// # Ok(()) }
    /// ```
    pub fn outbox(&self, sender: &Sender) -> Outbox<DB> {
        let held = Held::open(sender.clone());
        Outbox {
            sender: sender.with_dispatch(Arc::clone(&held) as _),
            held,
            sql: self.clone(),
        }
    }
}

impl OutboxRow {
    /// Returns the time before which it does not leave, in microseconds since 1970.
    pub fn due_micros(&self) -> Option<i64> {
        self.due.map(micros)
    }
}

impl<DB: Backend> Sql<DB> {
    /// Returns the statement that inserts a row with another library.
    ///
    /// The rows are those of [`Outbox::into_rows`].
    ///
    /// | parameter | is | PostgreSQL | SQLite |
    /// |---|---|---|---|
    /// | 1 | [`part`](OutboxRow::part) | `smallint` | not used, but counted |
    /// | 2 | [`ordering_key`](OutboxRow::ordering_key) | `text`, may be null | the same |
    /// | 3 | [`destination`](OutboxRow::destination) | `text` | the same |
    /// | 4 | [`topology`](OutboxRow::topology) | `uuid`, may be null | its 16 bytes, may be null |
    /// | 5 | [`metadata`](OutboxRow::metadata) | `text` | the same |
    /// | 6 | [`body`](OutboxRow::body) | `bytea` | `BLOB` |
    /// | 7, with a `due` | [`due_micros`](OutboxRow::due_micros) | `bigint` | `INTEGER` |
    /// | 8, with a `due` | [`token`](OutboxRow::token) | `uuid`, may be null | its 16 bytes, may be null |
    ///
    /// Insert the rows as the last statements of the transaction, in order, and
    /// [`wake`](Self::wake) the relay after its commit. `docs/transactions.md` has an example with
    /// tokio-postgres.
    pub fn insert_statement(&self, row: &OutboxRow) -> String {
        let template = match row.due {
            None => DB::INSERT,
            Some(_) => DB::SCHEDULE,
        };
        self.names().fill(template)
    }
}

/// Outbox for a transaction that its user has; made by [`Sql::outbox`].
///
/// Holds what is sent until it is written. Dropped before that, it logs an error, as the messages
/// are lost.
#[must_use = "messages leave only if they are written"]
pub struct Outbox<DB: Backend> {
    sender: Sender,
    held: Arc<Held>,
    sql: Sql<DB>,
}

impl<DB: Backend> Outbox<DB> {
    /// Publishes an event to every endpoint subscribed to `E`, once it is committed.
    pub fn publish<E: Message>(&self, event: &E) -> Sending {
        self.sender.publish(event)
    }

    /// Sends a command to the address of its route, once it is committed.
    pub fn send<C: Message>(&self, command: &C) -> Sending {
        self.sender.send(command)
    }

    /// Sends a command to an address, once it is committed.
    pub fn send_to<C: Message, A: TryInto<Address, Error: Into<InvalidAddress>>>(
        &self,
        address: A,
        command: &C,
    ) -> Sending {
        self.sender.send_to(address, command)
    }

    /// Returns a sender whose messages this outbox holds.
    ///
    /// For code that knows nothing of SQL.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Writes the messages, as the last statements before the commit.
    ///
    /// Rows that are written late commit in the order of their ids. After the commit,
    /// [`wake`](Sql::wake) the relay.
    ///
    /// # Errors
    /// That of the database; then roll the transaction back.
    pub async fn write(self, conn: &mut <DB as Database>::Connection) -> Result<(), SqlError> {
        self.write_rows(conn).await.map(drop)
    }

    /// Writes the messages; returns what was written.
    pub(crate) async fn write_rows(
        &self,
        conn: &mut <DB as Database>::Connection,
    ) -> Result<Rows, SqlError> {
        let partitions = self.sql.ready().await?;
        let rows = Rows::of(&self.held.close(), partitions);
        rows.write(&self.sql, conn, None).await?;
        Ok(rows)
    }

    /// Drops the messages, as the work does not count.
    pub(crate) fn discard(&self) {
        self.held.close();
    }

    /// Returns the messages as rows, to be inserted with another library.
    ///
    /// By [`Sql::insert_statement`]. Topologies are written here, in a transaction of their own on
    /// a connection of the pool: call it before the other library begins to write to SQLite.
    ///
    /// # Errors
    /// That of the database.
    pub async fn into_rows(self) -> Result<Vec<OutboxRow>, SqlError> {
        let partitions = self.sql.ready().await?;
        let rows = Rows::of(&self.held.close(), partitions);
        let (topologies, rows) = rows.split();
        let mut tx = self.sql.begin_transaction().await?;
        topologies.write(&self.sql, &mut tx, None).await?;
        topologies.commit(&self.sql, tx).await?;
        Ok(rows)
    }
}

impl<DB: Backend> Drop for Outbox<DB> {
    fn drop(&mut self) {
        let lost = self.held.close();
        if !lost.is_empty() {
            let types = lost
                .iter()
                .filter_map(|sealed| sealed.envelope.message_types.first());
            let types: Vec<_> = types.collect();
            tracing::error!(
                ?types,
                "messages are lost: their outbox is dropped before it was written"
            );
        }
    }
}

impl<DB: Backend> fmt::Debug for Outbox<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("sql", &self.sql)
            .finish_non_exhaustive()
    }
}
