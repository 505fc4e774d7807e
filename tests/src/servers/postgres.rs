//! A PostgreSQL to test against: the one of `POSTGRES_URL`, or an installed one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::sync::OnceCell;
use uuid::Uuid;

use super::process::ServerProcess;
use super::{find, given};
use crate::ports::free_ports;

/// What it has beyond the defaults, of which `fsync` is one. Memory of the system that a killed server would leave
/// behind is not used.
const SETTINGS: &str = "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 200\n\
                        dynamic_shared_memory_type = mmap\nfsync = on\n";

/// A password that travels as it is costs a debug build no time.
const ACCESS: &str = "host all all 127.0.0.1/32 password\n";

/// A running PostgreSQL, with a superuser `postgres`.
pub struct PostgresServer {
    url: String,
    psql: PathBuf,
    process: Option<ServerProcess>,
}

/// A database of one test.
pub struct Database {
    name: String,
    url: String,
    psql: PathBuf,
    /// Where to drop it, if its server outlives the tests.
    drop_at: Option<String>,
}

impl PostgresServer {
    /// The server that all tests of this process share, each with a [`database`](Self::database). It ends with the
    /// process.
    ///
    /// # Panics
    /// If there is none, saying what to install: nothing is skipped.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<PostgresServer> = OnceCell::const_new();
        SHARED
            .get_or_init(|| async {
                match given("POSTGRES_URL") {
                    Some(url) => Self {
                        url,
                        psql: program("psql"),
                        process: None,
                    },
                    None => Self::private().await,
                }
            })
            .await
    }

    /// A server of the caller's own, to be frozen, killed and started again.
    ///
    /// # Panics
    /// As [`shared`](Self::shared).
    pub async fn private() -> Self {
        Self::configured("").await
    }

    /// A server of the caller's own with further lines of `postgresql.conf`.
    ///
    /// # Panics
    /// As [`shared`](Self::shared).
    pub async fn configured(settings: &str) -> Self {
        let [port] = free_ports();
        let password = Uuid::new_v4().simple().to_string();
        let process = ServerProcess::new("postgres", port, "QUIT");
        // PostgreSQL refuses to run as root.
        let mut process = process.never_as_root(&["postgres", "nobody"]);
        let data = process.folder().join("data");
        initialize(&process, &data, &password).await;
        process.write("data/pg_hba.conf", ACCESS);
        let settings = format!("port = {port}\n{SETTINGS}{settings}\n");
        process.write("data/postgresql.conf", &settings);
        let url = format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres");
        let psql = program("psql");
        let server = program("postgres").display().to_string();
        let command = vec![server, "-D".to_owned(), data.display().to_string()];
        process.launch(command, || ready(&psql, &url)).await;
        Self {
            url,
            psql,
            process: Some(process),
        }
    }

    /// A new, empty database.
    ///
    /// # Panics
    /// If it cannot be made, with the server's words.
    pub async fn database(&self) -> Database {
        let name = format!("test_{}", Uuid::new_v4().simple());
        self.sql(&format!("CREATE DATABASE {name}")).await;
        Database {
            url: with_database(&self.url, &name),
            psql: self.psql.clone(),
            drop_at: self.process.is_none().then(|| self.url.clone()),
            name,
        }
    }

    /// The address of its database `postgres`, for the superuser, with the password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Host and port.
    pub fn host(&self) -> &str {
        host(&self.url)
    }

    /// Runs SQL in the database `postgres`, and gives the rows: a line each, with `|` between columns.
    ///
    /// # Panics
    /// If it fails, with the server's words.
    pub async fn sql(&self, text: &str) -> String {
        run(&self.psql, &self.url, text).await.expect("SQL")
    }

    /// Kills it and all that it has started, without a word; its data stays.
    pub async fn kill(&self) {
        self.process().kill().await;
    }

    /// Starts it again after [`kill`](Self::kill), with the data that it had.
    pub async fn start_again(&self) {
        self.process()
            .launch_again(|| ready(&self.psql, &self.url))
            .await;
    }

    /// Stops its processes where they are (SIGSTOP): connections stay, nothing is answered.
    pub async fn freeze(&self) {
        self.process().freeze().await;
    }

    /// Lets it go on after [`freeze`](Self::freeze).
    pub async fn thaw(&self) {
        self.process().thaw().await;
    }

    fn process(&self) -> &ServerProcess {
        let process = self.process.as_ref();
        process.expect("the PostgreSQL of POSTGRES_URL is not ours to stop")
    }
}

impl Database {
    /// Its address, for the superuser.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its address for another user.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        let host = host(&self.url);
        format!("postgres://{user}:{password}@{host}/{}", self.name)
    }

    /// Its name, which is also a unique name for a role of the test's own.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs SQL in it; rows as [`PostgresServer::sql`] gives them.
    ///
    /// # Panics
    /// If it fails, with the server's words.
    pub async fn sql(&self, text: &str) -> String {
        run(&self.psql, &self.url, text).await.expect("SQL")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(url) = &self.drop_at {
            let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
            let _ = psql(&self.psql, url, &drop).output();
        }
    }
}

/// Makes the files of a new server.
async fn initialize(process: &ServerProcess, data: &Path, password: &str) {
    let mut initdb = Command::new(program("initdb"));
    let password = process.write("password", password);
    initdb
        .args(["--username=postgres", "--auth=password", "--encoding=UTF8"])
        .args(["--locale=C", "--no-sync", "--pwfile"])
        .arg(password)
        .arg("--pgdata")
        .arg(data);
    process.run(initdb).await;
}

async fn ready(psql: &Path, url: &str) -> Result<(), String> {
    run(psql, url, "SELECT 1").await.map(drop)
}

async fn run(program: &Path, url: &str, text: &str) -> Result<String, String> {
    let mut command = psql(program, url, text);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.expect("no panic").expect("psql starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

fn psql(program: &Path, url: &str, text: &str) -> Command {
    let mut command = Command::new(program);
    command
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
        .args(["--set=ON_ERROR_STOP=1", "--command", text, "--dbname"])
        .arg(url)
        .env("PGCONNECT_TIMEOUT", "30");
    command
}

/// `user:password@host:port` of an address, and what follows it.
fn parts(url: &str) -> (&str, &str) {
    let start = url.find("://").map_or(0, |place| place + 3);
    let end = url[start..]
        .find(['/', '?'])
        .map_or(url.len(), |place| start + place);
    (&url[start..end], &url[end..])
}

fn host(url: &str) -> &str {
    let (authority, _) = parts(url);
    authority.rsplit('@').next().unwrap_or(authority)
}

/// The address of another database of the same server; options of the address stay.
fn with_database(url: &str, name: &str) -> String {
    let (authority, rest) = parts(url);
    let options = rest.find('?').map_or("", |place| &rest[place..]);
    format!("postgres://{authority}/{name}{options}")
}

/// A program of PostgreSQL, of the newest version that is installed.
///
/// # Panics
/// If there is none, saying what to install.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut folders: Vec<_> = versions.flatten().map(|version| version.path()).collect();
    folders.sort_by_key(|folder| {
        let version = folder.file_name().and_then(|name| name.to_str());
        std::cmp::Reverse(version.and_then(|version| version.parse::<u32>().ok()))
    });
    let folders = folders.into_iter().map(|folder| folder.join("bin"));
    find(name, folders).unwrap_or_else(|| {
        panic!(
            "no PostgreSQL to test against, as there is no `{name}`: install it (Debian, Ubuntu: apt-get install \
             postgresql); POSTGRES_URL names another server for the tests that do not stop it, which need `psql` alone"
        )
    })
}

impl fmt::Debug for PostgresServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresServer")
            .field("host", &self.host())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{host, with_database};

    #[test]
    fn addresses_are_taken_apart() {
        let url = "postgresql://u:p@db.example:5433/main?sslmode=require";
        assert_eq!(host(url), "db.example:5433");
        let other = "postgres://u:p@db.example:5433/x?sslmode=require";
        assert_eq!(with_database(url, "x"), other);
        assert_eq!(with_database("postgres://db", "x"), "postgres://db/x");
    }
}
