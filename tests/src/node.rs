//! A RabbitMQ node of our own: its own ports, its own folder, nothing of the system's service touched.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lapin::{Connection, ConnectionProperties};
use tokio::time::Instant;

use crate::broker::Setup;

/// How long a node may take to start.
const START: Duration = Duration::from_secs(90);

/// Waits for the end of its input, which is the end of whoever started it, however that came; then ends the node.
/// `$1` server, `$2` pid file, `$3` folder.
const WATCH: &str = r#"
"$1" >"$3/out.log" 2>&1 &
cat >/dev/null
[ -s "$2" ] && kill -9 "$(cat "$2")" 2>/dev/null
wait
[ -e "$3/keep" ] || { epmd -port "$ERL_EPMD_PORT" -kill >/dev/null 2>&1; rm -rf "$3"; }
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
        format!("amqp://guest:guest@127.0.0.1:{}", self.port)
    }

    async fn launch(&self) {
        let _ = std::fs::remove_file(self.pid_file());
        let mut command = Command::new("sh");
        command
            .args(["-c", WATCH, "sh"])
            .arg(&self.server)
            .arg(self.pid_file())
            .arg(&self.folder)
            .stdin(Stdio::piped());
        self.environment(&mut command);
        let watcher = command.spawn().expect("sh");
        *self.watcher() = Some(watcher);
        let deadline = Instant::now() + START;
        while let Err(error) = probe(&self.url()).await {
            assert!(
                Instant::now() < deadline,
                "the RabbitMQ node in {} did not start: {error}\n{}",
                self.folder.display(),
                std::fs::read_to_string(self.folder.join("out.log")).unwrap_or_default()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
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
            .env("RABBITMQ_PID_FILE", self.pid_file())
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
            probe(&self.url()).await.is_err(),
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

    fn pid_file(&self) -> PathBuf {
        self.folder.join("pid")
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

/// Free now; held all at once, so that they differ.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("bound").port())
}

/// A node that is not ready yet may take the connection and say nothing.
async fn probe(url: &str) -> Result<(), String> {
    let connecting = async {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        connection.close(200, "up".into()).await
    };
    match tokio::time::timeout(Duration::from_secs(3), connecting).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err("no answer within 3 s".to_owned()),
    }
}
