//! The database servers that tests start: they can be frozen, killed and started again, and end with their parent.
#![cfg(target_os = "linux")]

use std::time::Duration;

use bus_tests::{PostgresServer, RedisServer, eventually, within};
use tokio::net::TcpStream;

#[tokio::test]
async fn postgres_keeps_what_was_committed_when_it_is_killed() {
    let server = PostgresServer::private().await;
    let database = server.database().await;
    database
        .sql("CREATE TABLE t (n int); INSERT INTO t VALUES (7)")
        .await;
    server.kill().await;
    let refused = TcpStream::connect(server.host()).await;
    refused.expect_err("nobody listens");
    server.start_again().await;
    assert_eq!(database.sql("SELECT n FROM t").await, "7");
    assert_eq!(database.sql("SHOW fsync").await, "on");
}

#[tokio::test]
async fn postgres_can_be_frozen() {
    let server = PostgresServer::private().await;
    let database = server.database().await;
    server.freeze().await;
    let mut asked = Box::pin(database.sql("SELECT 1"));
    let soon = tokio::time::timeout(Duration::from_millis(300), &mut asked).await;
    soon.expect_err("it does not answer");
    server.thaw().await;
    assert_eq!(within("an answer", asked).await, "1");
}

#[tokio::test]
async fn every_test_has_a_database_of_its_own() {
    let server = PostgresServer::shared().await;
    let (first, second) = (server.database().await, server.database().await);
    first.sql("CREATE TABLE t (n int)").await;
    second.sql("CREATE TABLE t (n int)").await;
    let role = first.name();
    let sql = format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'");
    server.sql(&sql).await;
    assert!(first.url_as(role, "secret").ends_with(role));
}

#[tokio::test]
async fn redis_keeps_what_it_has_answered_when_it_is_killed() {
    let server = RedisServer::private().await;
    assert_eq!(server.command("SET k 7").await, "+OK");
    server.kill().await;
    server.start_again().await;
    assert_eq!(server.command("GET k").await, "$1\r\n7");
}

#[tokio::test]
async fn redis_can_be_frozen() {
    let server = RedisServer::private().await;
    server.freeze().await;
    let mut asked = Box::pin(server.command("PING"));
    let soon = tokio::time::timeout(Duration::from_millis(300), &mut asked).await;
    soon.expect_err("it does not answer");
    server.thaw().await;
    assert_eq!(within("an answer", asked).await, "+PONG");
}

mod left_behind {
    use std::fs;
    use std::path::PathBuf;
    use std::process::{Child, Command, Stdio};

    use super::eventually;

    /// A program with servers of its own, which waits for the end of its input.
    struct Run(Child);

    impl Run {
        fn start(command: &str) -> Self {
            let child = Command::new(env!("CARGO_BIN_EXE_with-stores"))
                .args(["sh", "-c", command])
                .env_remove("POSTGRES_URL")
                .env_remove("REDIS_URL")
                .stdin(Stdio::piped())
                .spawn();
            Self(child.expect("the program starts"))
        }

        /// Command lines of its servers and their watchers; a folder of theirs.
        fn left(&self) -> Vec<String> {
            let marks = ["postgres", "redis"].map(|name| format!("bus-{name}-{}-", self.0.id()));
            let is_ours = |text: &String| marks.iter().any(|mark| text.contains(mark));
            let command = |path: PathBuf| {
                let bytes = fs::read(path.join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&bytes).replace('\0', " ")
            };
            let entries = |folder: PathBuf| fs::read_dir(folder).expect("a folder").flatten();
            let processes = entries("/proc".into()).map(|entry| command(entry.path()));
            let folders = entries(std::env::temp_dir());
            let folders = folders.map(|entry| entry.path().display().to_string());
            processes.chain(folders).filter(is_ours).collect()
        }

        async fn runs(&self, server: &str) {
            eventually("the servers run", async || {
                let left = self.left();
                left.iter().any(|line| line.contains(server))
            })
            .await;
        }

        async fn leaves_nothing(&self) {
            eventually("nothing is left", async || self.left().is_empty()).await;
        }
    }

    #[tokio::test]
    async fn servers_end_with_a_process_that_is_killed() {
        let mut run = Run::start("cat");
        run.runs("bin/postgres -D").await;
        run.runs("redis-server").await;
        run.0.kill().expect("it runs");
        run.0.wait().expect("our own child");
        run.leaves_nothing().await;
    }

    #[tokio::test]
    async fn servers_end_with_a_process_that_ends_well() {
        let mut run = Run::start("[ -n \"$POSTGRES_URL\" ] && [ -n \"$REDIS_URL\" ]");
        let left = run.0.wait().expect("our own child");
        assert!(left.success(), "{left}");
        run.leaves_nothing().await;
    }
}
