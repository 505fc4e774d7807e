//! A server process of our own: in a folder of its own, ended with its parent, also when that is killed.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::mortal::state;

/// How long a server may take to start.
const START: Duration = Duration::from_secs(120);

/// `$server` and its children, which may be groups of their own. Stopped first, a server has no new ones.
const FAMILY: &str = r#"
family() {
    kill -s STOP "$server"
    echo "$server" $(grep -l "^PPid:.$server\$" /proc/[0-9]*/status 2>/dev/null | cut -d / -f 3)
}
runs() { grep -q '^State:.[^Z]' "/proc/$1/status" 2>/dev/null; }
"#;

/// Waits for the end of its input, which is the end of its parent, however that came; then ends the server.
/// `$1` folder, `$2` the signal that ends it, then its command.
const WATCH: &str = r#"
folder=$1 signal=$2
shift 2
"$@" </dev/null >>"$folder/out.log" 2>&1 &
server=$!
echo "$server" >"$folder/pid"
trap '' HUP INT QUIT TERM
cat >/dev/null
[ -e "$folder/keep" ] && signal=KILL
pids=$(family)
kill -s "$signal" $pids 2>/dev/null
kill -s CONT $pids 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    runs "$server" || break
    sleep 0.5
done
kill -s KILL $pids 2>/dev/null
wait
for pid in $pids; do
    while runs "$pid"; do sleep 0.02; done
done
[ -e "$folder/keep" ] || rm -rf "$folder"
"#;

/// A server, and the folder that it lives in.
pub(crate) struct ServerProcess {
    folder: PathBuf,
    owner: Option<Owner>,
    command: Vec<String>,
    /// Ends the server when nobody needs its data any more.
    signal: &'static str,
    watcher: Mutex<Option<Child>>,
}

/// The user that a server runs as, where it does not run as root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    /// The first of these users that the system has.
    fn first_of(users: &[&str]) -> Option<Self> {
        let known = std::fs::read_to_string("/etc/passwd").ok()?;
        users.iter().find_map(|user| {
            let mut fields = known
                .lines()
                .map(|line| line.split(':'))
                .find(|fields| fields.clone().next() == Some(user))?
                .skip(2);
            let mut id = || fields.next()?.parse().ok();
            Some(Self {
                user: id()?,
                group: id()?,
            })
        })
    }
}

impl ServerProcess {
    /// A folder `bus-<name>-<process>-<port>`; nothing runs yet.
    pub(crate) fn new(name: &str, port: u16, signal: &'static str) -> Self {
        let name = format!("bus-{name}-{}-{port}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder for the server");
        Self {
            folder,
            owner: None,
            command: Vec::new(),
            signal,
            watcher: Mutex::new(None),
        }
    }

    /// Gives folder and server to the first of these users that the system has, if they were root's.
    pub(crate) fn never_as_root(mut self, users: &[&str]) -> Self {
        let metadata = std::fs::metadata(&self.folder).expect("our folder");
        if metadata.uid() == 0 {
            let owner = Owner::first_of(users);
            let owner = owner.unwrap_or_else(|| panic!("none of the users {users:?} is there"));
            chown(&self.folder, Some(owner.user), Some(owner.group)).expect("we are root");
            self.owner = Some(owner);
        }
        self
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file that the server can read.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, text).expect("a file of the server");
        if let Some(owner) = self.owner {
            chown(&path, Some(owner.user), Some(owner.group)).expect("we are root");
        }
        path
    }

    /// Runs a program as the server's user, and waits for its end.
    pub(crate) async fn run(&self, mut command: Command) -> Output {
        self.dress(&mut command);
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.expect("no panic").expect("the program starts");
        assert!(
            output.status.success(),
            "{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    fn dress(&self, command: &mut Command) {
        command.current_dir(&self.folder).env("HOME", &self.folder);
        if let Some(owner) = self.owner {
            command.uid(owner.user).gid(owner.group);
        }
    }

    /// Starts the server, and waits until `ready` succeeds.
    ///
    /// # Panics
    /// If it never does, with what the server has printed.
    pub(crate) async fn launch<Fut>(&mut self, command: Vec<String>, ready: impl Fn() -> Fut)
    where
        Fut: Future<Output = Result<(), String>>,
    {
        self.command = command;
        self.launch_again(ready).await;
    }

    /// Starts a server that was killed, with the data that it had.
    pub(crate) async fn launch_again<Fut>(&self, ready: impl Fn() -> Fut)
    where
        Fut: Future<Output = Result<(), String>>,
    {
        for name in ["keep", "pid"] {
            let _ = std::fs::remove_file(self.folder.join(name));
        }
        let mut command = Command::new("sh");
        self.dress(&mut command);
        command
            .args(["-c", &format!("{FAMILY}{WATCH}"), "sh"])
            .arg(&self.folder)
            .arg(self.signal)
            .args(&self.command)
            .stdin(Stdio::piped())
            // Ctrl-C ends the tests, and their end the server.
            .process_group(0);
        *self.watcher() = Some(command.spawn().expect("sh"));
        let deadline = Instant::now() + START;
        while let Err(error) = ready().await {
            assert!(
                Instant::now() < deadline,
                "the server in {} did not start: {error}\n{}",
                self.folder.display(),
                std::fs::read_to_string(self.folder.join("out.log")).unwrap_or_default()
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Kills the server and its children at once; its data stays.
    pub(crate) async fn kill(&self) {
        let _ = self.write("keep", "");
        let pid = self.pid();
        let watcher = self.watcher().take();
        let watcher = watcher.expect("a server that was killed is not killed again");
        tokio::task::spawn_blocking(move || end(watcher))
            .await
            .expect("no panic");
        assert_eq!(state(&pid), None, "the server lives after it was killed");
    }

    /// Stops the server and its children where they are (SIGSTOP), until [`thaw`](Self::thaw).
    pub(crate) async fn freeze(&self) {
        self.signal_family("STOP").await;
        assert_eq!(state(&self.pid()), Some('T'), "the server is stopped");
    }

    /// Lets a stopped server go on (SIGCONT).
    pub(crate) async fn thaw(&self) {
        self.signal_family("CONT").await;
        assert_ne!(state(&self.pid()), Some('T'), "the server goes on");
    }

    async fn signal_family(&self, signal: &str) {
        let mut command = Command::new("sh");
        let script = format!("{FAMILY}\nserver=$2\nkill -s \"$1\" $(family) || :");
        command.args(["-c", &script, "sh", signal, &self.pid()]);
        self.run(command).await;
    }

    fn pid(&self) -> String {
        let pid = std::fs::read_to_string(self.folder.join("pid"));
        pid.expect("the server was started").trim().to_owned()
    }

    fn watcher(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.watcher.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end(mut watcher: Child) {
    drop(watcher.stdin.take());
    let _ = watcher.wait();
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.folder.join("keep"));
        match self.watcher().take() {
            Some(watcher) => end(watcher),
            None => drop(std::fs::remove_dir_all(&self.folder)),
        }
    }
}
