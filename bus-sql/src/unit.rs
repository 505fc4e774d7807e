//! Units of work outside of consumers.

use std::fmt;

use bus_core::send::{Sender, Sending};
use bus_core::transport::InvalidAddress;
use bus_core::{Address, Message};
use sqlx::{Database, Transaction};

use crate::backend::Backend;
use crate::error::SqlError;
use crate::outbox::Outbox;
use crate::sql::Sql;

impl<DB: Backend> Sql<DB> {
    /// Begins a transaction with an outbox, outside of a consumer.
    ///
    /// ```
    /// # #[cfg(not(feature = "sqlite"))] fn main() {}
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use bus_core::{Bus, queue};
    /// use bus_sql::sqlx;
    /// # use bus_core::Message;
    /// # use bus_inmemory::InMemory;
    /// # use bus_sql::{Sql, sqlx::sqlite::SqlitePoolOptions};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize, Message)]
    /// # #[message("Shop:PackOrder")]
    /// # struct PackOrder { number: String }
    /// # let options = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    /// # let pool = options.connect("sqlite::memory:").await?;
    /// # sqlx::query("CREATE TABLE orders (number TEXT)").execute(&pool).await?;
    /// # let sql = Sql::sqlite(pool);
    /// # let transport = InMemory::new();
    ///
    /// let bus = Bus::builder(transport.clone()).background(sql.relay()).start().await?;
    /// let mut unit = sql.begin(&bus.sender()).await?;
    /// sqlx::query("INSERT INTO orders (number) VALUES ('A-7')").execute(unit.conn()).await?;
    /// let pack = PackOrder { number: "A-7".into() };
    /// unit.send_to(queue("packing"), &pack).header("Tenant", "north").await?; // held
    /// assert_eq!(transport.waiting("packing"), None);
    /// unit.commit().await?; // both, or neither
    /// while transport.waiting("packing") != Some(1) { // the relay sends it
    ///     tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    /// }
    /// # bus.shutdown().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// That of the database.
    pub async fn begin(&self, sender: &Sender) -> Result<Unit<DB>, SqlError> {
        self.ready().await?;
        let tx = self.begin_transaction().await?;
        Ok(Unit {
            tx,
            outbox: self.outbox(sender),
            sql: self.clone(),
        })
    }
}

/// Transaction with an outbox; made by [`Sql::begin`].
///
/// Dropped without a commit, it is rolled back, and nothing leaves.
#[must_use = "dropped, it is rolled back"]
pub struct Unit<DB: Backend> {
    tx: Transaction<'static, DB>,
    outbox: Outbox<DB>,
    sql: Sql<DB>,
}

impl<DB: Backend> Unit<DB> {
    /// Returns the connection, for statements of the application.
    pub fn conn(&mut self) -> &mut <DB as Database>::Connection {
        &mut self.tx
    }

    /// Publishes an event to every endpoint subscribed to `E`, once it is committed.
    pub fn publish<E: Message>(&self, event: &E) -> Sending {
        self.outbox.publish(event)
    }

    /// Sends a command to the address of its route, once it is committed.
    pub fn send<C: Message>(&self, command: &C) -> Sending {
        self.outbox.send(command)
    }

    /// Sends a command to an address, once it is committed.
    pub fn send_to<C: Message, A: TryInto<Address, Error: Into<InvalidAddress>>>(
        &self,
        address: A,
        command: &C,
    ) -> Sending {
        self.outbox.send_to(address, command)
    }

    /// Returns a sender whose messages this unit holds.
    ///
    /// For code that knows nothing of SQL.
    pub fn sender(&self) -> &Sender {
        self.outbox.sender()
    }

    /// Commits, with everything that was sent.
    ///
    /// # Errors
    /// That of the database: nothing was committed and nothing leaves. With the kind
    /// [`Unavailable`](crate::SqlErrorKind::Unavailable) it may have been committed all the
    /// same, as the answer of the database may be lost.
    pub async fn commit(self) -> Result<(), SqlError> {
        let Self {
            mut tx,
            outbox,
            sql,
        } = self;
        let rows = outbox.write_rows(&mut tx).await?;
        rows.commit(&sql, tx).await
    }

    /// Rolls back: nothing leaves.
    ///
    /// # Errors
    /// That of the database; the transaction is rolled back all the same.
    pub async fn roll_back(self) -> Result<(), SqlError> {
        self.outbox.discard();
        Ok(self.tx.rollback().await?)
    }
}

impl<DB: Backend> fmt::Debug for Unit<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unit")
            .field("sql", &self.sql)
            .finish_non_exhaustive()
    }
}
