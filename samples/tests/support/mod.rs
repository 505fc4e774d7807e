//! Programs of the samples as processes of their own, and a broker for them.

#![allow(dead_code)] // each test program uses a part of it

pub(crate) mod oddities;

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use bus_tests::{Broker, until};
use uuid::Uuid;

/// A program that runs, and what it has written so far. It ends with the test, whatever becomes of it.
pub(crate) struct Program {
    name: String,
    child: Child,
    output: Arc<Mutex<Vec<String>>>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Program {
    /// Starts it, without the settings of whoever runs the tests.
    pub(crate) fn start(path: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(path)
            .args(arguments)
            .env_remove("AMQP_URL")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let output = Arc::default();
        let readers = vec![
            read(child.stdout.take().expect("piped"), Arc::clone(&output)),
            read(child.stderr.take().expect("piped"), Arc::clone(&output)),
        ];
        let name = format!("{path} {arguments:?}");
        Self {
            name,
            child,
            output,
            readers,
        }
    }

    /// Waits until it has written a line with `text`.
    pub(crate) async fn says(&self, text: &str) {
        until(
            &format!("`{text}` from {}\n{}", self.name, self.output()),
            || async { self.output().contains(text).then_some(()) },
        )
        .await;
    }

    /// Asks it to stop, as a service manager does.
    pub(crate) fn terminate(&self) {
        let id = self.child.id().to_string();
        let killed = Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .expect("kill");
        assert!(
            killed.success(),
            "{} is gone already:\n{}",
            self.name,
            self.output()
        );
    }

    /// Waits for its end, and gives its exit status and all that it wrote.
    pub(crate) async fn end(mut self) -> (ExitStatus, String) {
        let name = self.name.clone();
        let child = &mut self.child;
        let status = until(&format!("the end of {name}"), || {
            let status = child.try_wait().expect("our own child");
            async move { status }
        })
        .await;
        for reader in self.readers.drain(..) {
            reader.join().expect("no panic");
        }
        (status, self.output())
    }

    /// What it wrote until it ended, asked by SIGTERM; it must end well.
    pub(crate) async fn ends_well(self) -> String {
        self.terminate();
        let name = self.name.clone();
        let (status, output) = self.end().await;
        assert_eq!(status.code(), Some(0), "{name}:\n{output}");
        output
    }

    fn output(&self) -> String {
        let lines = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        lines.join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(
    from: impl Read + Send + 'static,
    output: Arc<Mutex<Vec<String>>>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            output
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
        }
    })
}

/// A virtual host of one test's own: the services' queues have fixed names.
pub(crate) async fn virtual_host() -> String {
    let name = Uuid::new_v4().simple().to_string();
    Broker::controlled().await.add_virtual_host(&name).await;
    name
}

pub(crate) async fn url_of(virtual_host: &str) -> String {
    let broker = Broker::controlled().await;
    broker.url_as("guest", "guest", virtual_host)
}
