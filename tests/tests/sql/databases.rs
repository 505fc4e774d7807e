//! Databases under test, each test with one of its own.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use bus_core::{Bus, ConsumeContext, ConsumeResult, Consumer};
use bus_sql::sqlx::postgres::PgPoolOptions;
use bus_sql::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use bus_sql::sqlx::{self, AssertSqlSafe, PgConnection, Pool, Postgres, Sqlite, SqliteConnection};
use bus_sql::{Backend, Sql, Tx, TxConsumer};
use bus_tests::contracts::{Numbered, Ordered, Place};
use bus_tests::{Database, PostgresServer, Recorder, TestBroker};
use uuid::Uuid;

/// Connections of a pool; more than any test consumes at once.
const CONNECTIONS: u32 = 12;

/// A kind of database, with a table of effects.
pub(crate) trait TestDatabase: Backend {
    /// A new database, and the handle to it of one process.
    async fn open() -> Fixture<Self>;

    /// The handle of another process.
    async fn again(fixture: &Fixture<Self>) -> Sql<Self>;

    /// An effect of a consumer.
    fn effect(
        conn: &mut Self::Connection,
        text: &str,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// All effects, sorted.
    async fn effects(pool: &Pool<Self>) -> Vec<String>;

    /// All effects, in the order in which they were committed.
    async fn committed(pool: &Pool<Self>) -> Vec<String>;

    /// Runs statements.
    async fn run(pool: &Pool<Self>, statements: &str) -> sqlx::Result<()>;

    /// The number that a query gives.
    async fn number(pool: &Pool<Self>, query: &str) -> i64;
}

/// A database of one test.
pub(crate) struct Fixture<DB: Backend> {
    pub(crate) sql: Sql<DB>,
    /// URL or file.
    pub(crate) address: String,
    file: Option<PathBuf>,
    /// Dropped with the fixture, where its server outlives the test.
    _database: Option<Database>,
}

impl<DB: TestDatabase> Fixture<DB> {
    /// The number of rows of a table of the bus.
    pub(crate) async fn rows(&self, table: &str) -> i64 {
        DB::number(
            self.sql.pool(),
            &format!("SELECT count(*) FROM bus_{table}"),
        )
        .await
    }

    pub(crate) async fn effects(&self) -> Vec<String> {
        DB::effects(self.sql.pool()).await
    }

    /// The numbers of all effects, in the order in which they were committed.
    pub(crate) async fn committed(&self) -> Vec<u32> {
        let effects = DB::committed(self.sql.pool()).await;
        let number = |text: &String| text.parse().expect("a number");
        effects.iter().map(number).collect()
    }

    /// Lets the lease of the relay run out, as after some seconds without it.
    pub(crate) async fn end_lease(&self) {
        let long_ago = if DB::NAME == "SQLite" {
            "0"
        } else {
            "'-infinity'"
        };
        let end = format!("UPDATE bus_relay SET lease_until = {long_ago}");
        DB::run(self.sql.pool(), &end).await.expect("a lease");
    }

    /// Counts the relays so far.
    pub(crate) async fn epoch(&self) -> i64 {
        DB::number(self.sql.pool(), "SELECT epoch FROM bus_relay").await
    }
}

impl Fixture<Postgres> {
    /// A new database of a server.
    pub(crate) async fn of(server: &PostgresServer) -> Self {
        let database = server.database().await;
        let sql = postgres(database.url()).await;
        let effects = Postgres::run(sql.pool(), POSTGRES_EFFECTS).await;
        effects.expect("a table");
        Self {
            sql,
            address: database.url().to_owned(),
            file: None,
            _database: Some(database),
        }
    }
}

impl<DB: Backend> Drop for Fixture<DB> {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm"] {
            if let Some(file) = &self.file {
                let _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
            }
        }
    }
}

/// Its ids are in the order of the commits of those who write one after the other.
const POSTGRES_EFFECTS: &str = "CREATE TABLE effect \
                                (id bigint GENERATED ALWAYS AS IDENTITY, number TEXT NOT NULL)";
const SQLITE_EFFECTS: &str = "CREATE TABLE effect (id INTEGER PRIMARY KEY, number TEXT NOT NULL)";
const EFFECT: &str = "INSERT INTO effect (number) VALUES ($1)";
const ALL: &str = "SELECT number FROM effect ORDER BY number";
const IN_ORDER: &str = "SELECT number FROM effect ORDER BY id";

async fn postgres(url: &str) -> Sql<Postgres> {
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(Duration::from_secs(10))
        .connect(url);
    Sql::postgres(pool.await.expect("a database"))
}

async fn sqlite(file: &str) -> Sql<Sqlite> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(30));
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS);
    Sql::sqlite(pool.connect_with(options).await.expect("a file"))
}

impl TestDatabase for Postgres {
    async fn open() -> Fixture<Self> {
        Fixture::of(PostgresServer::shared().await).await
    }

    async fn again(fixture: &Fixture<Self>) -> Sql<Self> {
        postgres(&fixture.address).await
    }

    async fn effect(conn: &mut PgConnection, text: &str) -> sqlx::Result<()> {
        sqlx::query(EFFECT).bind(text).execute(conn).await.map(drop)
    }

    async fn effects(pool: &Pool<Self>) -> Vec<String> {
        sqlx::query_scalar(ALL)
            .fetch_all(pool)
            .await
            .expect("effects")
    }

    async fn committed(pool: &Pool<Self>) -> Vec<String> {
        sqlx::query_scalar(IN_ORDER)
            .fetch_all(pool)
            .await
            .expect("effects")
    }

    async fn run(pool: &Pool<Self>, statements: &str) -> sqlx::Result<()> {
        let statements = AssertSqlSafe(statements.to_owned());
        sqlx::raw_sql(statements).execute(pool).await.map(drop)
    }

    async fn number(pool: &Pool<Self>, query: &str) -> i64 {
        let query = AssertSqlSafe(query.to_owned());
        sqlx::query_scalar(query)
            .fetch_one(pool)
            .await
            .expect("a number")
    }
}

impl TestDatabase for Sqlite {
    async fn open() -> Fixture<Self> {
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("bus-sql-{}.db", Uuid::now_v7()));
        let address = file.display().to_string();
        let sql = sqlite(&address).await;
        Self::run(sql.pool(), SQLITE_EFFECTS)
            .await
            .expect("a table");
        Fixture {
            sql,
            address,
            file: Some(file),
            _database: None,
        }
    }

    async fn again(fixture: &Fixture<Self>) -> Sql<Self> {
        sqlite(&fixture.address).await
    }

    async fn effect(conn: &mut SqliteConnection, text: &str) -> sqlx::Result<()> {
        sqlx::query(EFFECT).bind(text).execute(conn).await.map(drop)
    }

    async fn effects(pool: &Pool<Self>) -> Vec<String> {
        sqlx::query_scalar(ALL)
            .fetch_all(pool)
            .await
            .expect("effects")
    }

    async fn committed(pool: &Pool<Self>) -> Vec<String> {
        sqlx::query_scalar(IN_ORDER)
            .fetch_all(pool)
            .await
            .expect("effects")
    }

    async fn run(pool: &Pool<Self>, statements: &str) -> sqlx::Result<()> {
        let statements = AssertSqlSafe(statements.to_owned());
        sqlx::raw_sql(statements).execute(pool).await.map(drop)
    }

    async fn number(pool: &Pool<Self>, query: &str) -> i64 {
        let query = AssertSqlSafe(query.to_owned());
        sqlx::query_scalar(query)
            .fetch_one(pool)
            .await
            .expect("a number")
    }
}

/// A consumer with an effect and an event; then its recorder decides.
pub(crate) struct Placing(pub(crate) Recorder<Place>);

impl<DB: TestDatabase> TxConsumer<Place, DB> for Placing {
    async fn consume(&self, ctx: ConsumeContext<Place>, tx: &mut Tx<DB>) -> ConsumeResult {
        let number = ctx.message().number();
        DB::effect(tx.conn(), &number.to_string()).await?;
        ctx.publish(&Ordered { number }).await?;
        self.0.consume(ctx).await
    }
}

/// Stops, and proves that no message of an endpoint has failed.
pub(crate) async fn stop_unfailed(broker: &dyn TestBroker, endpoint: &str, bus: Bus) {
    bus.shutdown().await.expect("stopped");
    let failed = format!("{}_error", broker.name(endpoint));
    assert_eq!(broker.depth(&failed).await.unwrap_or(0), 0);
}

/// Makes a test of each function for each database.
macro_rules! on_each_database {
    ($($name:ident),+ $(,)?) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name::<bus_sql::sqlx::Postgres>().await;
            })+
        }

        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name::<bus_sql::sqlx::Sqlite>().await;
            })+
        }
    };
}

pub(crate) use on_each_database;
