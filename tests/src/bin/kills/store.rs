//! The database of a lane.

use bus_sql::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use bus_sql::sqlx::{self, AssertSqlSafe, SqlitePool};
use bus_tests::{Database, PostgresServer};
use uuid::Uuid;

const POSTGRES: &str =
    "CREATE TABLE effect (id bigint GENERATED ALWAYS AS IDENTITY, number TEXT NOT NULL)";
const SQLITE: &str = "CREATE TABLE effect (id INTEGER PRIMARY KEY, number TEXT NOT NULL)";
const EFFECTS: &str = "SELECT number FROM effect ORDER BY id";

/// A database with a table of effects.
#[derive(Debug)]
pub(crate) enum Store {
    Postgres(Database),
    Sqlite(SqlitePool, String),
}

impl Store {
    pub(crate) async fn postgres(server: &PostgresServer) -> Self {
        let database = server.database().await;
        database.sql(POSTGRES).await;
        Self::Postgres(database)
    }

    pub(crate) async fn sqlite() -> Self {
        let file = std::env::temp_dir().join(format!("bus-kills-{}.db", Uuid::now_v7()));
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal);
        let pool = SqlitePoolOptions::new().max_connections(1);
        let pool = pool.connect_with(options).await.expect("a file");
        let table = sqlx::query(SQLITE).execute(&pool).await;
        table.expect("a table");
        Self::Sqlite(pool, file.display().to_string())
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Sqlite(..) => "sqlite",
        }
    }

    /// Its address for a service.
    pub(crate) fn address(&self) -> &str {
        match self {
            Self::Postgres(database) => database.url(),
            Self::Sqlite(_, file) => file,
        }
    }

    /// The numbers of all effects, in the order of their commits.
    pub(crate) async fn effects(&self) -> Vec<u32> {
        let rows = self.rows(EFFECTS).await;
        let number = |row: &String| row.parse().expect("a number");
        rows.iter().map(number).collect()
    }

    /// How many messages wait to be sent.
    pub(crate) async fn waiting(&self) -> u32 {
        let rows = self.rows("SELECT CAST(count(*) AS TEXT) FROM bus_outbox");
        rows.await[0].parse().expect("a number")
    }

    /// Lets the lease of a relay that was killed run out: ten seconds less for each kill.
    pub(crate) async fn end_lease(&self) {
        match self {
            Self::Postgres(database) => {
                let end = "UPDATE bus_relay SET lease_until = '-infinity'";
                database.sql(end).await;
            }
            Self::Sqlite(pool, _) => {
                let end = sqlx::query("UPDATE bus_relay SET lease_until = 0");
                end.execute(pool).await.expect("a lease");
            }
        }
    }

    async fn rows(&self, query: &str) -> Vec<String> {
        match self {
            Self::Postgres(database) => {
                let rows = database.sql(query).await;
                rows.lines().map(str::to_owned).collect()
            }
            Self::Sqlite(pool, _) => {
                let query = sqlx::query_scalar(AssertSqlSafe(query.to_owned()));
                query.fetch_all(pool).await.expect("rows")
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Self::Sqlite(_, file) = self {
            for suffix in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{file}{suffix}"));
            }
        }
    }
}
