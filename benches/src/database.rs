//! The database of one contender in one round.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use bus_tests::PostgresServer;

use crate::load::Data;

static OPENED: AtomicUsize = AtomicUsize::new(1);

/// An empty database; none where a load has none.
pub(crate) enum Database {
    None,
    Postgres(bus_tests::Database),
    Sqlite(PathBuf),
}

impl Database {
    pub(crate) async fn open(data: Data) -> Self {
        match data {
            Data::None => Self::None,
            Data::Postgres => Self::Postgres(PostgresServer::shared().await.database().await),
            Data::Sqlite => {
                let number = OPENED.fetch_add(1, Ordering::Relaxed);
                let name = format!("bus-bench-{}-{number}", std::process::id());
                let folder = std::env::temp_dir().join(name);
                std::fs::create_dir(&folder).expect("a folder of its own");
                Self::Sqlite(folder)
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Postgres(database) => database.url().to_owned(),
            Self::Sqlite(folder) => format!("sqlite://{}/bench.db", folder.display()),
        }
    }

    /// Deletes it, as the next one needs the disk.
    pub(crate) async fn close(self) {
        match self {
            Self::None => {}
            Self::Postgres(database) => {
                let drop = format!("DROP DATABASE {} WITH (FORCE)", database.name());
                PostgresServer::shared().await.sql(&drop).await;
            }
            Self::Sqlite(folder) => std::fs::remove_dir_all(folder).expect("deleted"),
        }
    }
}
