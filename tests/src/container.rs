//! A RabbitMQ in Docker.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use testcontainers::core::{CmdWaitFor, ExecCommand, IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

use crate::broker::Setup;
use crate::ports::free_ports;
use crate::probe::{probe, until_ready};

/// Waits for the end of its input, which is the end of its parent, however that came; then removes the container `$1`,
/// more than once, as it may be in the making.
const WATCH: &str = r#"
trap '' HUP INT QUIT TERM
cat >/dev/null
for _ in 1 2 3 4 5; do
    docker rm --force --volumes "$1" >/dev/null 2>&1
    sleep 1
done
"#;

/// A container; it is removed when this is dropped, and when the process ends.
pub(crate) struct Container {
    running: ContainerAsync<GenericImage>,
    port: u16,
    _watcher: Watcher,
}

impl Container {
    /// # Panics
    /// If Docker does not start it, saying why.
    pub(crate) async fn start(setup: &Setup) -> Self {
        // A port of our choice, as it must be the same after a restart.
        let [port] = free_ports();
        let name = format!("bus-rabbitmq-{}-{port}", std::process::id());
        let watcher = Watcher::start(&name);
        let config = setup.config.replace("{loopback}", "");
        let plugins = format!("[{}].", setup.plugins.join(","));
        let mut image = GenericImage::new("rabbitmq", "4.1")
            .with_wait_for(WaitFor::message_on_stdout("Server startup complete"))
            .with_container_name(name)
            .with_mapped_port(port, 5672.tcp())
            .with_copy_to("/etc/rabbitmq/conf.d/90-test.conf", config.into_bytes())
            .with_copy_to("/etc/rabbitmq/enabled_plugins", plugins.into_bytes());
        for file in &setup.files {
            let name = file.to_string_lossy().into_owned();
            let bytes = std::fs::read(file).expect("a file of the configuration");
            image = image.with_copy_to(name, bytes);
        }
        for port in &setup.ports {
            image = image.with_mapped_port(*port, port.tcp());
        }
        let container = image.start().await.expect(
            "Docker must run to start a RabbitMQ; or set AMQP_URL, or install rabbitmq-server",
        );
        let started = Self {
            running: container,
            port,
            _watcher: watcher,
        };
        started.is_ready().await;
        started
    }

    pub(crate) fn url(&self) -> String {
        format!("amqp://guest:guest@{}", self.host())
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) async fn control(&self, arguments: &[&str]) -> String {
        let command = std::iter::once("rabbitmqctl").chain(arguments.iter().copied());
        let command = ExecCommand::new(command.map(str::to_owned))
            .with_cmd_ready_condition(CmdWaitFor::exit_code(0));
        let mut result = match self.running.exec(command).await {
            Ok(result) => result,
            Err(error) => panic!("rabbitmqctl {arguments:?}: {error}"),
        };
        let output = result.stdout_to_vec().await.expect("output");
        String::from_utf8_lossy(&output).into_owned()
    }

    pub(crate) async fn kill(&self) {
        self.running
            .stop_with_timeout(Some(0))
            .await
            .expect("the container stops");
        assert!(
            probe(&self.host()).await.is_err(),
            "the broker lives after it was killed"
        );
    }

    pub(crate) async fn start_again(&self) {
        self.running
            .start()
            .await
            .expect("the container starts again");
        self.is_ready().await;
    }

    /// The engine listens on the port before the broker does, and takes connections that it then drops.
    async fn is_ready(&self) {
        let ready = until_ready(&self.host()).await;
        ready.expect("the broker in the container takes connections");
    }
}

/// A process that outlives this one, and removes its container.
struct Watcher(Child);

impl Watcher {
    fn start(container: &str) -> Self {
        let watcher = Command::new("sh")
            .args(["-c", WATCH, "sh", container])
            .stdin(Stdio::piped())
            // Ctrl-C ends the tests, and their end the container.
            .process_group(0)
            .spawn();
        Self(watcher.expect("sh"))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
    }
}
