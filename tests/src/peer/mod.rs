//! Another service in a process of its own, driven by one JSON command a line: a real MassTransit, or a program that
//! speaks the same protocol. `tests/interop/README.md` describes it.

mod protocol;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use bus_conformance::support::within;

pub use protocol::{Answer, Command, Consumed, Killed, Replied};

/// A running peer. It ends when this is dropped, and when the test's process ends.
pub struct Peer {
    program: PathBuf,
    arguments: Vec<String>,
    next_id: AtomicU64,
    process: tokio::sync::Mutex<Option<Process>>,
    heard: Arc<Heard>,
    endpoints: HashMap<String, tokio::sync::Mutex<mpsc::UnboundedReceiver<Consumed>>>,
}

struct Process {
    child: Child,
    input: ChildStdin,
    address: Arc<str>,
    listening: JoinHandle<()>,
}

/// Where what the process says goes.
struct Heard {
    pending: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    consumed: HashMap<String, mpsc::UnboundedSender<Consumed>>,
}

impl Heard {
    fn pending(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What ended a command, or a message that was consumed.
    fn hear(&self, mut event: Value) {
        if event["event"] == "consumed" {
            let consumed: Consumed = serde_json::from_value(event).expect("a consumed message");
            // A peer consumes on the endpoints that it was told to start; the receiver lives as long as the peer.
            let _ = self.consumed[&consumed.endpoint].send(consumed);
        } else if let Some(id) = event["id"].take().as_u64() {
            let waiting = self.pending().remove(&id);
            let answer = serde_json::from_value(event).expect("the end of a command");
            // Nobody waits any more if the test has moved on.
            if let Some(waiting) = waiting {
                let _ = waiting.send(answer);
            }
        }
    }
}

impl Peer {
    /// Starts MassTransit with these of its endpoints.
    ///
    /// # Panics
    /// If there is none, saying how to get it: nothing is skipped.
    pub async fn start(url: &str, endpoints: &[&str]) -> Self {
        Self::start_with(url, endpoints, &[]).await
    }

    /// Starts MassTransit with these of its endpoints and with options.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_with(url: &str, endpoints: &[&str], options: &[&str]) -> Self {
        let only = endpoints.join(",");
        let mut arguments = vec!["serve", url, "--only", &only];
        arguments.extend(options);
        Self::launch(masstransit(), &arguments, endpoints).await
    }

    /// Starts a program that speaks the protocol.
    ///
    /// # Panics
    /// If it does not say soon that it is up.
    pub async fn launch(program: PathBuf, arguments: &[&str], endpoints: &[&str]) -> Self {
        let channels = endpoints
            .iter()
            .map(|name| ((*name).to_owned(), mpsc::unbounded_channel()));
        let (mut consumed, mut receivers) = (HashMap::new(), HashMap::new());
        for (name, (sender, receiver)) in channels {
            consumed.insert(name.clone(), sender);
            receivers.insert(name, tokio::sync::Mutex::new(receiver));
        }
        let peer = Self {
            program,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            next_id: AtomicU64::new(1),
            process: tokio::sync::Mutex::new(None),
            heard: Arc::new(Heard {
                pending: Mutex::default(),
                consumed,
            }),
            endpoints: receivers,
        };
        peer.start_again().await;
        peer
    }

    /// Starts the process again after [`kill`](Self::kill).
    ///
    /// # Panics
    /// If it does not say soon that it is up, or runs already.
    pub async fn start_again(&self) {
        let mut process = self.process.lock().await;
        assert!(process.is_none(), "the peer runs already");
        let mut child = tokio::process::Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let input = child.stdin.take().expect("piped");
        let output = child.stdout.take().expect("piped");
        let (up, started) = oneshot::channel();
        let listening = tokio::spawn(listen(output, up, Arc::clone(&self.heard)));
        let address = within("the peer is up", started)
            .await
            .expect("the peer ended before it was up");
        *process = Some(Process {
            child,
            input,
            address,
            listening,
        });
    }

    /// Ends it without a word to anybody, as a power cut would. Commands that run end with [`Killed`].
    ///
    /// # Panics
    /// If it does not run.
    pub async fn kill(&self) {
        let mut process = self.process.lock().await.take().expect("it runs");
        process.child.kill().await.expect("its process is ours");
        // All that it said is heard, and no command of it is left, when the next process starts.
        process.listening.await.expect("no panic");
    }

    /// Stops it as an operator would: it takes no more messages, and ends when those that run are done.
    ///
    /// # Panics
    /// If it does not run, or does not end soon.
    pub async fn stop(&self) {
        let mut process = self.process.lock().await.take().expect("it runs");
        drop(process.input);
        let ended = within("the peer ends", process.child.wait()).await;
        assert!(ended.expect("its process is ours").success());
        process.listening.await.expect("no panic");
    }

    /// Whether it runs; waits while it starts.
    pub async fn is_running(&self) -> bool {
        self.process.lock().await.is_some()
    }

    /// The address of its bus: the source of what it sends outside of its consumers.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn address(&self) -> Arc<str> {
        let process = self.process.lock().await;
        process.as_ref().expect("it runs").address.clone()
    }

    /// Gives a command, and waits for its end.
    ///
    /// # Errors
    /// [`Killed`] if the process ends before the command does.
    pub async fn run(&self, command: Command) -> Result<Answer, Killed> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let line = format!("{}\n", command.with("id", id));
        let (sender, answer) = oneshot::channel();
        {
            let mut process = self.process.lock().await;
            let process = process.as_mut().ok_or(Killed)?;
            self.heard.pending().insert(id, sender);
            let written = process.input.write_all(line.as_bytes()).await;
            written.map_err(|_| Killed)?;
        }
        within("the end of a command", answer)
            .await
            .map_err(|_| Killed)
    }

    /// Publishes or sends, until the broker has confirmed it.
    ///
    /// # Panics
    /// If the peer cannot.
    pub async fn does(&self, command: Command) {
        match self.run(command).await {
            Ok(Answer::Done) => {}
            other => panic!("not done: {other:?}"),
        }
    }

    /// The next message that one of its endpoints consumed and the test has not looked at.
    ///
    /// # Panics
    /// If there is none soon.
    pub async fn consumed(&self, endpoint: &str) -> Consumed {
        let mut unread = self.endpoints[endpoint].lock().await;
        within(&format!("a message at {endpoint}"), unread.recv())
            .await
            .expect("the sender lives as long as the peer")
    }
}

/// The published MassTransit, as a program.
fn masstransit() -> PathBuf {
    let program = std::env::var_os("MASSTRANSIT_PEER").map(PathBuf::from);
    match program.filter(|program| program.is_file()) {
        Some(program) => program,
        None => panic!(
            "no MassTransit to run against: set MASSTRANSIT_PEER to the program that `make interop-peer` builds"
        ),
    }
}

async fn listen(output: ChildStdout, up: oneshot::Sender<Arc<str>>, heard: Arc<Heard>) {
    let mut up = Some(up);
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // A process that is killed may have written half a line.
        let Ok(event) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        if let ("started", Some(address)) = (
            event["event"].as_str().unwrap_or_default(),
            event["address"].as_str(),
        ) {
            let _ = up.take().map(|up| up.send(address.into()));
        } else {
            heard.hear(event);
        }
    }
    heard.pending().clear();
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("program", &self.program)
            .field("endpoints", &self.endpoints.keys())
            .finish_non_exhaustive()
    }
}
