//! The handle to a service's tables.

use std::any::TypeId;
use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus_core::Message;
use bus_core::consume::AnyMessage;
use sqlx::{Pool, Transaction};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::backend::Backend;
use crate::demand::Demand;
use crate::detached::to_the_end;
use crate::error::{SqlError, SqlErrorKind};
use crate::migration::Migration;
use crate::names::Names;
use crate::settings::Settings;
use crate::wake::Wake;

/// Handle to the outbox, the inbox and the other tables of one service.
///
/// Cheap to clone; clones share what wakes the relay. Set everything before it is cloned.
///
/// Every process of a service has one, with the same prefix and schema. Services that share a
/// database have tables of their own.
///
/// ```no_run
/// # #[cfg(feature = "sqlite")]
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use bus_sql::{Sql, sqlx::SqlitePool};
///
/// let pool = SqlitePool::connect("sqlite://invoices.db?mode=rwc").await?;
/// let sql = Sql::sqlite(pool)
///     .table_prefix("messaging_")
///     .remember(Duration::from_secs(14 * 24 * 60 * 60));
/// sql.migrate().await?; // or leave that to the start of the bus
/// # Ok(()) }
/// ```
#[must_use]
pub struct Sql<DB: Backend> {
    pool: Pool<DB>,
    settings: Arc<Settings>,
    shared: Arc<Shared>,
}

/// State that the clones of a handle share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) names: Names,
    pub(crate) wake: Wake,
    pub(crate) demand: Demand,
    /// The number of partitions, once the tables were checked.
    partitions: OnceCell<u16>,
    /// Topologies that are in the database for sure.
    topologies: Mutex<HashSet<Uuid>>,
}

#[cfg(feature = "postgres")]
impl Sql<sqlx::Postgres> {
    /// Creates a handle to tables in PostgreSQL.
    ///
    /// Give the pool a connection for each delivery that is consumed at once, and three more for
    /// the relay: the start logs a warning if it has fewer. `test_before_acquire(false)` saves a
    /// round trip for each.
    pub fn postgres(pool: sqlx::PgPool) -> Self {
        Self::new(pool)
    }

    /// Sets the schema of the tables; it is created if it is not there.
    ///
    /// Default: the first one of the connection's `search_path`.
    pub fn schema(self, schema: &str) -> Self {
        let names = self.shared.names.with_schema(schema);
        self.named(names)
    }

    /// Sets the number of partitions of the outbox.
    ///
    /// Different processes can relay different partitions; messages with one ordering key are in
    /// one of them. Fixed when the tables are made: another number later is an error of kind
    /// [`Configuration`](SqlErrorKind::Configuration). Default: that of the tables; 1 for new ones.
    pub fn partitions(mut self, count: NonZeroU16) -> Self {
        Arc::make_mut(&mut self.settings).partitions = Some(count);
        self
    }
}

#[cfg(feature = "sqlite")]
impl Sql<sqlx::Sqlite> {
    /// Creates a handle to tables in SQLite.
    ///
    /// Open the file with `journal_mode` `WAL`, by a pool of two connections or more. A database in
    /// memory needs a pool of one connection that is kept: `max_connections(1)`,
    /// `idle_timeout(None)`, `max_lifetime(None)`.
    pub fn sqlite(pool: sqlx::SqlitePool) -> Self {
        Self::new(pool)
    }
}

impl<DB: Backend> Sql<DB> {
    fn new(pool: Pool<DB>) -> Self {
        Self {
            pool,
            settings: Arc::default(),
            shared: Arc::default(),
        }
    }

    fn named(mut self, names: Names) -> Self {
        self.shared = Arc::new(Shared {
            names,
            ..Shared::default()
        });
        self
    }

    /// Sets the prefix of the tables' names.
    ///
    /// 1 to 31 of `a-z`, `0-9` and `_`, not beginning with a digit; anything else is an error of
    /// kind [`Configuration`](SqlErrorKind::Configuration) at the start. Default: `bus_`.
    pub fn table_prefix(self, prefix: &str) -> Self {
        let names = self.shared.names.with_prefix(prefix);
        self.named(names)
    }

    /// Sets the time for which handled messages are remembered.
    ///
    /// A duplicate that comes later is handled again: make it longer than a message may wait in an
    /// error queue before it is sent again. Default: 7 days.
    pub fn remember(mut self, duration: Duration) -> Self {
        Arc::make_mut(&mut self.settings).remember = duration;
        self
    }

    /// Checks the tables, and never makes them.
    ///
    /// For tables that are made by the statements of [`migrations`](Self::migrations). Missing or
    /// older ones are then an error of kind [`Schema`](SqlErrorKind::Schema).
    pub fn without_migrations(mut self) -> Self {
        Arc::make_mut(&mut self.settings).migrates = false;
        self
    }

    /// Sets the business key by which messages of type `M` are recognized in the inbox.
    ///
    /// It recognizes two sends of the same thing even if their message ids differ. A message with a
    /// known key and another content goes to the error queue. Default: the `Idempotency-Key`
    /// header, else the message id.
    pub fn by<M: Message, K: Into<String>>(
        mut self,
        key: impl Fn(&M) -> K + Send + Sync + 'static,
    ) -> Self {
        let key_of =
            move |message: &AnyMessage| message.downcast_ref::<M>().map(|it| key(it).into());
        let settings = Arc::make_mut(&mut self.settings);
        settings.keys.insert(TypeId::of::<M>(), Arc::new(key_of));
        self
    }

    /// Returns the statements that make the tables, version by version.
    ///
    /// After the statements of each one, insert its `version` and `readable_by` into the table
    /// `bus_schema`.
    pub fn migrations(&self) -> Vec<Migration> {
        let filled = DB::migrations().iter().map(|migration| Migration {
            sql: self.names().fill(&migration.sql).into(),
            ..migration.clone()
        });
        filled.collect()
    }

    /// Makes the tables, or brings them to the version of this crate, and checks them.
    ///
    /// Several processes may do so at once. A bus with a relay, a transactional consumer or a store
    /// of this handle does it at its start.
    ///
    /// # Errors
    /// [`Configuration`](SqlErrorKind::Configuration), [`Schema`](SqlErrorKind::Schema), or that of
    /// the database.
    pub async fn migrate(&self) -> Result<(), SqlError> {
        self.ready().await.map(drop)
    }

    /// The pool of the service.
    pub fn pool(&self) -> &Pool<DB> {
        &self.pool
    }

    pub(crate) fn names(&self) -> &Names {
        &self.shared.names
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Checks the tables, at the first call that succeeds.
    ///
    /// Returns the number of partitions.
    pub(crate) async fn ready(&self) -> Result<u16, SqlError> {
        let prepared = self.shared.partitions.get_or_try_init(|| {
            let sql = self.clone();
            to_the_end(async move { sql.prepare().await })
        });
        prepared.await.copied()
    }

    async fn prepare(&self) -> Result<u16, SqlError> {
        self.names().check()?;
        let wanted = self.settings.partitions;
        let latest = DB::migrations()
            .last()
            .map_or(0, |migration| migration.version);
        match DB::installed(&self.pool, self.names()).await? {
            Some(installed) if installed.readable_by > latest => {
                let version = installed.version;
                return Err(self.unfit(&format!(
                    "version {version}, newer than this program can work with"
                )));
            }
            Some(installed) if installed.version >= latest => {}
            _ if self.settings.migrates => {
                let partitions = wanted.map_or(1, NonZeroU16::get);
                DB::migrate(&self.pool, self.names(), partitions).await?;
            }
            Some(installed) => {
                let version = installed.version;
                return Err(self.unfit(&format!(
                    "version {version}, and version {latest} is needed: run the newer of Sql::migrations()"
                )));
            }
            None => return Err(self.unfit("not there: run the statements of Sql::migrations()")),
        }
        self.check_columns().await?;
        let partitions = DB::partitions(&self.pool, self.names()).await?;
        if partitions == 0 {
            return Err(self.unfit("without the row of partition 0 in the table of relays"));
        }
        match wanted.map(NonZeroU16::get) {
            Some(wanted) if wanted != partitions => Err(SqlError::new(
                SqlErrorKind::Configuration,
                format!(
                    "the outbox has {partitions} partitions, and {wanted} are set: the number is fixed when the tables are made"
                ),
            )),
            _ => Ok(partitions),
        }
    }

    fn unfit(&self, text: &str) -> SqlError {
        let names = self.names().fill("{t}*");
        SqlError::new(
            SqlErrorKind::Schema,
            format!("the tables {names} are {text}"),
        )
    }

    pub(crate) async fn begin_transaction(&self) -> Result<Transaction<'static, DB>, SqlError> {
        let pool = self.pool.clone();
        to_the_end(async move { DB::begin(&pool).await }).await
    }

    /// Wakes the relays, here and elsewhere, after a commit of messages.
    ///
    /// Only needed after a transaction of one's own; without it, the relay finds them within a
    /// second.
    pub fn wake(&self) {
        let wake = &self.shared.wake;
        wake.wake();
        let relayed_here = self
            .shared
            .partitions
            .get()
            .is_some_and(|count| wake.partitions_here() == usize::from(*count));
        // Outside of a runtime, the relays of other processes look by themselves.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if DB::NOTIFIES && !relayed_here && wake.ask_to_notify() {
            let sql = self.clone();
            runtime.spawn(async move { sql.shared.wake.notify(&sql.pool, sql.names()).await });
        }
    }

    pub(crate) fn knows_topology(&self, id: &Uuid) -> bool {
        let known = &self.shared.topologies;
        known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(id)
    }

    /// Notes topologies that were committed.
    pub(crate) fn learn_topologies(&self, ids: impl IntoIterator<Item = Uuid>) {
        let known = &self.shared.topologies;
        known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(ids);
    }
}

impl<DB: Backend> Clone for Sql<DB> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            settings: Arc::clone(&self.settings),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<DB: Backend> fmt::Debug for Sql<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sql")
            .field("database", &DB::NAME)
            .field("tables", &self.names().fill("{t}*"))
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
