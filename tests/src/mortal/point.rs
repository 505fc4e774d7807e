//! The point of its work at which a program ends or stops itself.

use std::convert::Infallible;
use std::process::{Command, exit};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

/// Sends a signal to the program that runs it. One that is stopped goes on behind this only once
/// it was: the signal need not have taken effect when it was sent.
const SIGNAL: &str = r#"
kill -s "$1" $PPID
[ "$1" = STOP ] || exit
for _ in $(seq 100); do
    grep -q '^State:.T' /proc/$PPID/status && exit
    sleep 0.01
done
"#;

/// The point of its work at which a program ends or stops itself, by a signal that it cannot handle.
///
/// Written as a name, `name@3` for the third time, and `stop:name` for SIGSTOP instead of SIGKILL.
#[derive(Debug)]
pub struct Point {
    name: String,
    signal: &'static str,
    /// Reached so often before it is the one.
    before: u32,
    reached: AtomicU32,
}

impl Point {
    /// Ends or stops the process if it has come to the point.
    pub fn reach(&self, here: &str) {
        if self.name != here || self.reached.fetch_add(1, Ordering::SeqCst) != self.before {
            return;
        }
        let _ = Command::new("sh")
            .args(["-c", SIGNAL, "sh", self.signal])
            .status();
        if self.signal == "KILL" {
            // Not reached; a life that does not end so fails the test.
            exit(0);
        }
    }
}

impl FromStr for Point {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let (signal, text) = match text.strip_prefix("stop:") {
            Some(text) => ("STOP", text),
            None => ("KILL", text),
        };
        let (name, time) = text.split_once('@').unwrap_or((text, "1"));
        Ok(Self {
            name: name.to_owned(),
            signal,
            before: time.parse::<u32>().map_or(0, |time| time.saturating_sub(1)),
            reached: AtomicU32::new(0),
        })
    }
}
