//! A test run that is killed leaves no broker behind.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use bus_tests::{eventually, until};

/// A program with a broker of its own, which waits for the end of its input.
struct Run(Child);

impl Run {
    fn start() -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_with-broker"))
            .args(["sh", "-c", "echo $AMQP_URL; cat"])
            .env_remove("AMQP_URL")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        Self(child.expect("the program starts"))
    }

    /// In the name of all that belongs to the broker.
    fn mark(&self) -> String {
        format!("bus-rabbitmq-{}-", self.0.id())
    }

    fn folders(&self) -> Vec<PathBuf> {
        let all = fs::read_dir(std::env::temp_dir()).expect("the folder for temporary files");
        let mark = self.mark();
        all.flatten()
            .map(|entry| entry.path())
            .filter(|path| path.to_string_lossy().contains(&mark))
            .collect()
    }

    /// Command lines of processes that are about the broker: its own, the name server's, the watcher's.
    fn processes(&self) -> Vec<String> {
        let all = fs::read_dir("/proc").expect("Linux").flatten();
        let mark = self.mark();
        let text = |path: PathBuf| {
            let bytes = fs::read(path).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        all.map(|entry| (text(entry.path().join("cmdline")), entry.path()))
            .filter(|(command, path)| {
                command.contains(&mark) || text(path.join("environ")).contains(&mark)
            })
            .map(|(command, _)| command)
            .collect()
    }

    fn containers(&self) -> Vec<String> {
        let filter = format!("name={}", self.mark());
        let listed = Command::new("docker")
            .args(["ps", "--all", "--quiet", "--filter", &filter])
            .output();
        let listed = listed.map(|output| output.stdout).unwrap_or_default();
        let listed = String::from_utf8_lossy(&listed);
        listed.lines().map(ToOwned::to_owned).collect()
    }

    async fn has_begun(&self) {
        eventually("a broker is being started", async || {
            self.processes().len() > 1 || !self.containers().is_empty()
        })
        .await;
    }

    async fn is_ready(&mut self) {
        use std::io::BufRead as _;
        let output = self.0.stdout.take().expect("piped");
        let reading = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            let read = std::io::BufReader::new(output).read_line(&mut line);
            read.map(|_| line)
        });
        let url = reading.await.expect("no panic").expect("text");
        assert!(url.starts_with("amqp://"), "{url}");
    }

    async fn killed_leaves_nothing(mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("our own child");
        let left = || (self.processes(), self.folders(), self.containers());
        eventually("nothing is left", async || {
            left() == (vec![], vec![], vec![])
        })
        .await;
    }
}

#[tokio::test]
async fn a_broker_ends_with_a_process_that_is_killed() {
    let mut run = Run::start();
    run.is_ready().await;
    let server = until("the server runs", async || {
        let processes = run.processes();
        let server = processes.iter().any(|line| line.contains("beam"));
        (server || !run.containers().is_empty()).then_some(processes)
    })
    .await;
    assert!(!server.is_empty());
    run.killed_leaves_nothing().await;
}

#[tokio::test]
async fn a_broker_that_is_being_started_ends_with_its_process_too() {
    let run = Run::start();
    run.has_begun().await;
    run.killed_leaves_nothing().await;
}

#[tokio::test]
async fn a_shared_broker_ends_with_a_process_that_ends_well() {
    let mut run = Run::start();
    run.is_ready().await;
    drop(run.0.stdin.take());
    let left = run.0.wait().expect("our own child");
    assert!(left.success(), "{left}");
    eventually("nothing is left", async || {
        run.processes().is_empty() && run.folders().is_empty() && run.containers().is_empty()
    })
    .await;
}
