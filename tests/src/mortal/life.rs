//! One life of a program, as its test sees it.

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use bus_conformance::support::{eventually, within};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::task::JoinHandle;

const SIGKILL: i32 = 9;

/// Ticks of the times in `/proc`, on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// One life of a program. It is killed when this is dropped.
#[derive(Debug)]
pub struct Life {
    process: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reading: JoinHandle<()>,
}

impl Life {
    /// Starts a program, with arguments and variables.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(
        program: impl AsRef<OsStr>,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut process = tokio::process::Command::new(program)
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let mut output = BufReader::new(process.stdout.take().expect("piped")).lines();
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let written = Arc::clone(&lines);
        let reading = tokio::spawn(async move {
            while let Some(line) = output.next_line().await.expect("text") {
                let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
                written.push(line);
            }
        });
        Self {
            process,
            lines,
            reading,
        }
    }

    /// The lines that it has written so far.
    pub fn written(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.clone()
    }

    /// The numbers behind a word, in the lines that it has written so far.
    pub fn numbers(&self, word: &str) -> Vec<u32> {
        let written = self.written();
        let behind = written.iter().filter_map(|line| line.strip_prefix(word));
        behind
            .filter_map(|number| number.trim().parse().ok())
            .collect()
    }

    /// Waits until it has written a line.
    ///
    /// # Panics
    /// If it does not soon.
    pub async fn writes(&self, line: &str) {
        eventually(&format!("`{line}` is written"), async || {
            self.written().iter().any(|written| written == line)
        })
        .await;
    }

    /// Waits until it was killed, by itself or from outside; returns the lines that it has written.
    ///
    /// # Panics
    /// If it does not die soon, or in another way.
    pub async fn death(&mut self) -> Vec<String> {
        let death = within("the death", self.process.wait()).await;
        let death = death.expect("our own child");
        assert_eq!(death.signal(), Some(SIGKILL), "{death}");
        let read = within("the end of its output", &mut self.reading).await;
        read.expect("text");
        self.written()
    }

    /// Kills it.
    ///
    /// # Panics
    /// If it has ended in another way.
    pub async fn kill(&mut self) -> Vec<String> {
        self.process.start_kill().expect("our own child");
        self.death().await
    }

    /// Waits until it is stopped (SIGSTOP).
    ///
    /// # Panics
    /// If it is not soon.
    pub async fn freezes(&self) {
        let pid = self.pid();
        eventually("it is stopped", async || state(&pid) == Some('T')).await;
    }

    /// Lets a stopped one go on (SIGCONT).
    ///
    /// # Panics
    /// If it has ended.
    pub fn thaw(&self) {
        let sent = Command::new("sh")
            .args(["-c", "kill -s CONT \"$1\"", "sh", &self.pid()])
            .status();
        assert!(sent.expect("sh").success(), "it was there");
    }

    /// The time that it was on a processor so far, in seconds.
    ///
    /// # Panics
    /// If it has ended.
    pub fn processor_time(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()));
        let status = status.expect("it lives");
        // The name of the program, in parentheses, may hold spaces.
        let (_, fields) = status.rsplit_once(')').expect("a name");
        let times = fields.split_whitespace().skip(11).take(2);
        let ticks: f64 = times.filter_map(|time| time.parse::<f64>().ok()).sum();
        ticks / TICKS_PER_SECOND
    }

    fn pid(&self) -> String {
        self.process.id().expect("it lives").to_string()
    }
}

/// `T` of a process that is stopped; none of a process that has ended.
pub(crate) fn state(pid: &str) -> Option<char> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let state = status
        .lines()
        .find_map(|line| line.strip_prefix("State:"))?;
    state.trim().chars().next()
}
