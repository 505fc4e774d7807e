//! The databases of the services: SQLite, in files of one run, which go away with it.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use bus_core::error::BoxError;
use bus_sql::Sql;
use bus_sql::sqlx::sqlite::SqliteConnectOptions;
use bus_sql::sqlx::{Sqlite, SqlitePool};
use samples::account::{Account as _, Balance};
use samples::audit::Journal as _;
use samples::database::{self, Database};
use samples::ledger::Ledger as _;
use samples::service::{Service, of_service};
use samples::warehouse::{Stock, Warehouse as _};
use uuid::Uuid;

use crate::services::{InvoiceService, PaymentService, Shipping};

/// The databases of all services, and what the demo reads them with.
#[derive(Debug)]
pub(crate) struct Databases {
    // Closed first: a folder with open files cannot be removed everywhere.
    invoicing: SqlitePool,
    payments: SqlitePool,
    shipping: SqlitePool,
    folder: Folder,
}

/// What is in the databases: the effects, which no kill may have lost or repeated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) invoices: usize,
    pub(crate) overheard: usize,
    pub(crate) balance: Balance,
    pub(crate) stock: Stock,
}

impl Databases {
    pub(crate) async fn create() -> Result<Self, BoxError> {
        let folder = Folder::create()?;
        Ok(Self {
            invoicing: open::<InvoiceService>(&folder).await?,
            payments: open::<PaymentService>(&folder).await?,
            shipping: open::<Shipping>(&folder).await?,
            folder,
        })
    }

    /// The folder of the files.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// The database that the instances of a service share.
    pub(crate) fn of<S: Service<Sqlite>>(&self) -> Database {
        Database::file(file::<S>(&self.folder))
    }

    /// The tables of shipping, for its endpoint that is declared before it runs.
    pub(crate) fn shipping(&self) -> Sql<Sqlite> {
        of_service::<Shipping, _>(Sql::sqlite(self.shipping.clone()))
    }

    /// Reads what was committed until now.
    pub(crate) async fn read(&self) -> Result<Books, BoxError> {
        let mut invoicing = self.invoicing.acquire().await?;
        Ok(Books {
            invoices: invoicing.invoices().await?,
            overheard: invoicing.overheard().await?,
            balance: self.payments.acquire().await?.balance().await?,
            stock: self.shipping.acquire().await?.stock().await?,
        })
    }
}

fn file<S: Service<Sqlite>>(folder: &Folder) -> PathBuf {
    folder.0.join(S::NAME).with_extension("db")
}

async fn open<S: Service<Sqlite>>(folder: &Folder) -> Result<SqlitePool, BoxError> {
    let options = SqliteConnectOptions::new().filename(file::<S>(folder));
    Ok(database::open_file(&options, S::TABLES).await?)
}

/// A folder for temporary files, removed when it is dropped.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn create() -> io::Result<Self> {
        let name = format!("servicebus-demo-{}", Uuid::new_v4().simple());
        let folder = env::temp_dir().join(name);
        fs::create_dir(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system, as all temporary files are in the end.
        let _ = fs::remove_dir_all(&self.0);
    }
}
