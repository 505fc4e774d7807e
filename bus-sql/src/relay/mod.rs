//! The relay: sends what was committed.

mod held_back;
mod lease;
mod partition;
mod reading;
mod topologies;
mod trouble;
mod window;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bus_core::background::{BackgroundService, StopSignal};
use bus_core::error::BoxError;
use bus_core::send::Sender;
use bus_core::transport::{Backoff, Health};
use futures_util::future::join_all;

use crate::backend::Backend;
use crate::pool;
use crate::prune::prune;
use crate::recurring::firing::fire;
use crate::sql::Sql;
use partition::Partition;
use trouble::Troubles;

/// Default name of the service.
const NAME: &str = "sql-relay";

/// Waits before a connection for notifications is made again.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl<DB: Backend> Sql<DB> {
    /// Makes the relay, which sends what was committed and forgets what is old.
    ///
    /// ```
    /// # #[cfg(not(feature = "sqlite"))] fn main() {}
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use bus_core::Bus;
    /// # use bus_inmemory::InMemory;
    /// # use bus_sql::{Sql, sqlx::sqlite::SqlitePoolOptions};
    /// # let options = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    /// # let sql = Sql::sqlite(options.connect("sqlite::memory:").await?);
    /// let bus = Bus::builder(InMemory::new())
    ///     .background(sql.relay())
    ///     .start() // makes the tables first
    ///     .await?;
    /// let health = bus.health();
    /// assert!(health.background_service("sql-relay").is_some_and(|relay| relay.is_running()));
    /// # bus.shutdown().await?;
    /// # Ok(()) }
    /// ```
    pub fn relay(&self) -> Relay<DB> {
        Relay {
            name: NAME.to_owned(),
            sql: self.clone(),
            troubles: Arc::default(),
        }
    }
}

/// Relay of a service's outbox, a background service; made by [`Sql::relay`].
///
/// Each process of a service may have one: of each partition, one of them is the relay at a time. A
/// bus that has no endpoints and this service is a relay by itself.
///
/// Messages of a partition are handed to the broker in the order of their rows, pipelined; a row is
/// deleted once the broker has confirmed its message. With an ordering key, a message is handed
/// over when the one before it is confirmed. A message that comes after one that cannot be sent now
/// waits if it has its key or its destination; one that was refused three times, or whose row was
/// edited so that it cannot be read, is parked, with an error in the log. Each try to send a
/// message takes 30 s at most; the deadline of its sender ends with the sender's call.
#[derive(Debug)]
pub struct Relay<DB: Backend> {
    name: String,
    sql: Sql<DB>,
    troubles: Arc<Troubles>,
}

impl<DB: Backend> Relay<DB> {
    /// Sets the name of the service, for a bus with the relays of two databases.
    ///
    /// Default: `sql-relay`.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Wakes the relay when another process has committed something. Never ends.
    async fn listen(&self) -> Infallible {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let wake = || self.sql.shared().wake.wake();
        loop {
            let ended = DB::listen(self.sql.pool(), self.sql.names(), &wake).await;
            if let Err(error) = ended {
                tracing::debug!(%error, "commits of other processes are looked for, as their notifications are lost");
            }
            backoff.wait().await;
        }
    }
}

#[async_trait]
impl<DB: Backend> BackgroundService for Relay<DB> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn prepare(&self) -> Result<(), BoxError> {
        let partitions = self.sql.ready().await?;
        self.sql.check_rights().await?;
        Ok(pool::check_relay(&self.sql, partitions.into()).await?)
    }

    async fn run(&self, sender: Sender, stop: StopSignal) -> Result<(), BoxError> {
        let count = self.sql.ready().await?;
        let parts = (0..count).filter_map(|part| i16::try_from(part).ok());
        let relays = parts.map(|part| {
            let troubles = Arc::clone(&self.troubles);
            Partition::new(part, self.sql.clone(), sender.clone(), troubles).run(&stop)
        });
        let relays = join_all(relays.collect::<Vec<_>>());
        tokio::select! {
            _ = relays => Ok(()),
            never = self.listen() => match never {},
            never = prune(&self.sql) => match never {},
            never = fire(&self.sql) => match never {},
        }
    }

    fn health(&self) -> Health {
        self.troubles.health()
    }
}
