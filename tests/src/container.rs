//! A RabbitMQ in Docker.

use testcontainers::core::{CmdWaitFor, ExecCommand, IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

use crate::broker::Setup;
use crate::node::free_ports;

/// A container; it is removed when this is dropped.
pub(crate) struct Container {
    container: ContainerAsync<GenericImage>,
    port: u16,
}

impl Container {
    /// # Panics
    /// If Docker does not start it, saying why.
    pub(crate) async fn start(setup: &Setup) -> Self {
        // A port of our choice, as it must be the same after a restart.
        let [port] = free_ports();
        let config = setup.config.replace("{loopback}", "");
        let plugins = format!("[{}].", setup.plugins.join(","));
        let mut image = GenericImage::new("rabbitmq", "4.1")
            .with_wait_for(WaitFor::message_on_stdout("Server startup complete"))
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
        Self { container, port }
    }

    pub(crate) fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.port)
    }

    pub(crate) async fn control(&self, arguments: &[&str]) -> String {
        let command = std::iter::once("rabbitmqctl").chain(arguments.iter().copied());
        let command = ExecCommand::new(command.map(str::to_owned))
            .with_cmd_ready_condition(CmdWaitFor::exit_code(0));
        let mut result = match self.container.exec(command).await {
            Ok(result) => result,
            Err(error) => panic!("rabbitmqctl {arguments:?}: {error}"),
        };
        let output = result.stdout_to_vec().await.expect("output");
        String::from_utf8_lossy(&output).into_owned()
    }

    pub(crate) async fn kill(&self) {
        self.container
            .stop_with_timeout(Some(0))
            .await
            .expect("the container stops");
    }

    pub(crate) async fn start_again(&self) {
        self.container
            .start()
            .await
            .expect("the container starts again");
    }
}
