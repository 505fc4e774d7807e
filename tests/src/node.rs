//! A RabbitMQ node of our own: its own ports, its own folder, nothing of the system's service touched.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::broker::Setup;
use crate::ports::free_ports;
use crate::probe::{probe, until_ready};

/// Names another server than the one that is installed.
const SERVER: &str = "BUS_TEST_RABBITMQ_SERVER";

/// Waits for the end of its input, which is the end of its parent, however that came; then ends the node.
/// `$1` server, `$2` folder. The server and what it starts are one process group: before the node has written its pid,
/// there is nothing else to end it by. The name server is a daemon, and refuses until it has seen that the node is gone.
const WATCH: &str = r#"
setsid "$1" >"$2/out.log" 2>&1 &
server=$!
trap '' HUP INT QUIT TERM
cat >/dev/null
[ -s "$2/pid" ] && kill -s KILL "$(cat "$2/pid")" 2>/dev/null || kill -s KILL -- "$server" "-$server" 2>/dev/null
wait
kill -s KILL -- "-$server" 2>/dev/null
[ -e "$2/keep" ] && exit
for _ in 1 2 3 4 5 6 7 8 9 10; do
    epmd -port "$ERL_EPMD_PORT" -kill 2>&1 | grep -q Killed && break
    sleep 0.1
done
rm -rf "$2" || { sleep 1; rm -rf "$2"; }
"#;

/// One node and the folder it lives in.
pub(crate) struct Node {
    port: u16,
    distribution_port: u16,
    names_port: u16,
    folder: PathBuf,
    server: PathBuf,
    watcher: Mutex<Option<Child>>,
}

impl Node {
    /// Whether `rabbitmq-server` is installed.
    pub(crate) fn is_installed() -> bool {
        server().is_some()
    }

    pub(crate) async fn start(setup: &Setup) -> Self {
        let [port, distribution_port, names_port] = free_ports();
        let folder =
            std::env::temp_dir().join(format!("bus-rabbitmq-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the node");
        let plugins = format!("[{}].", setup.plugins.join(","));
        std::fs::write(folder.join("enabled_plugins"), plugins).expect("a file of the node");
        let config = setup.config.replace("{loopback}", "127.0.0.1:");
        let config =
            format!("listeners.tcp.default = 127.0.0.1:{port}\nloopback_users = none\n{config}");
        std::fs::write(folder.join("rabbitmq.conf"), config).expect("a file of the node");
        let node = Self {
            port,
            distribution_port,
            names_port,
            folder,
            server: server().expect("asked before"),
            watcher: Mutex::new(None),
        };
        node.launch().await;
        node
    }

    pub(crate) fn url(&self) -> String {
        format!("amqp://guest:guest@{}", self.host())
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    async fn launch(&self) {
        let _ = std::fs::remove_file(self.folder.join("pid"));
        let mut command = Command::new("sh");
        command
            .args(["-c", WATCH, "sh"])
            .arg(&self.server)
            .arg(&self.folder)
            // A node that is killed may leave a dump where it was started.
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            // Ctrl-C ends the tests, and their end the node.
            .process_group(0);
        self.environment(&mut command);
        let watcher = command.spawn().expect("sh");
        *self.watcher() = Some(watcher);
        if let Err(error) = until_ready(&self.host()).await {
            panic!(
                "the RabbitMQ node in {} did not start: {error}\n{}",
                self.folder.display(),
                std::fs::read_to_string(self.folder.join("out.log")).unwrap_or_default()
            );
        }
    }

    fn environment(&self, command: &mut Command) {
        let folder = |name: &str| self.folder.join(name);
        command
            .env(
                "RABBITMQ_NODENAME",
                format!("bus-test-{}@localhost", self.port),
            )
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("ERL_EPMD_PORT", self.names_port.to_string())
            .env("RABBITMQ_MNESIA_BASE", folder("data"))
            .env("RABBITMQ_LOG_BASE", folder("log"))
            .env("RABBITMQ_PID_FILE", folder("pid"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder("enabled_plugins"))
            .env("RABBITMQ_CONFIG_FILE", folder("rabbitmq.conf"))
            // A node that is killed would leave it in the directory of the tests.
            .env("ERL_CRASH_DUMP", folder("erl_crash.dump"))
            .env("HOME", &self.folder);
    }

    pub(crate) async fn control(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(self.server.with_file_name("rabbitmqctl"));
        command.args(arguments);
        self.environment(&mut command);
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .expect("no panic")
            .expect("rabbitmqctl");
        assert!(
            output.status.success(),
            "rabbitmqctl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) async fn kill(&self) {
        std::fs::write(self.folder.join("keep"), "").expect("a file of the node");
        self.end().await;
        assert!(
            probe(&self.host()).await.is_err(),
            "the node lives after it was killed"
        );
    }

    pub(crate) async fn start_again(&self) {
        std::fs::remove_file(self.folder.join("keep")).expect("killed before");
        self.launch().await;
    }

    async fn end(&self) {
        let Some(mut watcher) = self.watcher().take() else {
            return;
        };
        drop(watcher.stdin.take());
        tokio::task::spawn_blocking(move || watcher.wait())
            .await
            .expect("no panic")
            .expect("the watcher ends");
    }

    fn watcher(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.watcher.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.folder.join("keep"));
        if let Some(mut watcher) = self.watcher().take() {
            drop(watcher.stdin.take());
            let _ = watcher.wait();
        }
    }
}

/// The script below RabbitMQ's own folder: the one on the path may insist on the service's user.
fn server() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(SERVER).filter(|named| !named.is_empty()) {
        return Some(named.into());
    }
    let libraries = Path::new("/usr/lib/rabbitmq/lib");
    let installed = std::fs::read_dir(libraries).into_iter().flatten().flatten();
    installed
        .map(|entry| entry.path().join("sbin/rabbitmq-server"))
        .find(|server| server.is_file())
        .or_else(|| {
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path)
                .map(|folder| folder.join("rabbitmq-server"))
                .find(|server| server.is_file() && server.with_file_name("rabbitmqctl").is_file())
        })
}
