//! A RabbitMQ to test against: the first of `AMQP_URL`, an installed `rabbitmq-server`, a container.

use std::fmt;
use std::path::PathBuf;

use futures_util::FutureExt;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use tokio::sync::OnceCell;

use crate::node::Node;
use bus_conformance::support::eventually;

/// What a broker has beyond the defaults.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Lines of `rabbitmq.conf`; `{loopback}` stands before a port to listen on.
    pub config: String,
    /// Plugins to enable.
    pub plugins: Vec<String>,
    /// Files that the configuration names.
    pub files: Vec<PathBuf>,
    /// Further ports on which it listens.
    pub ports: Vec<u16>,
}

/// A running broker.
pub struct Broker {
    url: String,
    source: Source,
}

enum Source {
    /// Somebody else's, named by `AMQP_URL`.
    Given,
    /// Our own node.
    Node(Node),
    #[cfg(feature = "containers")]
    Container(Box<crate::container::Container>),
}

impl Broker {
    /// The broker that all tests of this process share. It ends with the process.
    ///
    /// # Panics
    /// If there is none, saying what to install: nothing is skipped.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Broker> = OnceCell::const_new();
        SHARED
            .get_or_init(|| async {
                match std::env::var("AMQP_URL") {
                    Ok(url) if !url.is_empty() => Self {
                        url,
                        source: Source::Given,
                    },
                    _ => Self::private().await,
                }
            })
            .await
    }

    /// A broker for users, virtual hosts and permissions of a test's own: the shared one, unless `AMQP_URL` names it.
    ///
    /// What reaches the other tests, such as an alarm, needs a [`private`](Self::private) one.
    ///
    /// # Panics
    /// As [`shared`](Self::shared).
    pub async fn controlled() -> &'static Self {
        static CONTROLLED: OnceCell<Broker> = OnceCell::const_new();
        match Self::shared().await {
            Self {
                source: Source::Given,
                ..
            } => CONTROLLED.get_or_init(Self::private).await,
            ours => ours,
        }
    }

    /// A broker of the caller's own, to be killed and started again.
    ///
    /// # Panics
    /// As [`shared`](Self::shared).
    pub async fn private() -> Self {
        Self::configured(&Setup::default()).await
    }

    /// A broker of the caller's own that is set up in its own way.
    ///
    /// # Panics
    /// As [`shared`](Self::shared).
    pub async fn configured(setup: &Setup) -> Self {
        if Node::is_installed() && !containers_only() {
            let node = Node::start(setup).await;
            return Self {
                url: node.url(),
                source: Source::Node(node),
            };
        }
        #[cfg(feature = "containers")]
        {
            let container = crate::container::Container::start(setup).await;
            Self {
                url: container.url(),
                source: Source::Container(Box::new(container)),
            }
        }
        #[cfg(not(feature = "containers"))]
        panic!(
            "no RabbitMQ to test against: set AMQP_URL, or install it (Debian, Ubuntu: apt-get install rabbitmq-server), \
             or run with --features bus-tests/containers where Docker is"
        );
    }

    /// A port that nobody uses now.
    pub fn free_port() -> u16 {
        let [port] = crate::ports::free_ports();
        port
    }

    /// Where it listens: `amqp://user:password@host:port`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address with another user, password or virtual host.
    pub fn url_as(&self, user: &str, password: &str, vhost: &str) -> String {
        let (_, rest) = self.url.split_once('@').expect("made by us");
        let host = rest.split('/').next().unwrap_or(rest);
        format!("amqp://{user}:{password}@{host}/{vhost}")
    }

    /// Host and port.
    pub fn host(&self) -> &str {
        let (_, rest) = self
            .url
            .split_once('@')
            .or_else(|| self.url.split_once("://"))
            .expect("an address has a scheme");
        rest.split('/').next().unwrap_or(rest)
    }

    /// Makes a virtual host that is open to guest.
    ///
    /// # Panics
    /// If it fails.
    pub async fn add_virtual_host(&self, name: &str) {
        self.control(&["add_vhost", name]).await;
        let permit = ["set_permissions", "-p", name, "guest", ".*", ".*", ".*"];
        self.control(&permit).await;
    }

    /// Runs `rabbitmqctl` and gives its output.
    ///
    /// # Panics
    /// If it fails, with its words.
    pub async fn control(&self, arguments: &[&str]) -> String {
        match &self.source {
            Source::Node(node) => node.control(arguments).await,
            #[cfg(feature = "containers")]
            Source::Container(container) => container.control(arguments).await,
            Source::Given => panic!("the broker of AMQP_URL is not ours to control"),
        }
    }

    /// Raises the alarm of memory: from now on the broker reads nothing from who has published.
    ///
    /// # Panics
    /// If it fails, or nothing is blocked soon.
    pub async fn raise_alarm(&self) {
        self.control(&["set_vm_memory_high_watermark", "0.00001"])
            .await;
        // The command ends before the connections hear of it. They hear together, so one shows it.
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(self.url(), properties).await;
        let connection = connection.expect("the broker is up");
        let channel = connection.create_channel().await.expect("a channel");
        let (exchange, options) = (ShortString::default(), BasicPublishOptions::default());
        eventually("the alarm blocks a publisher", async || {
            let nowhere = channel.basic_publish(
                exchange.clone(),
                "nowhere".into(),
                options,
                &[],
                BasicProperties::default(),
            );
            // Does not end once the connection is blocked.
            let _ = nowhere.now_or_never();
            connection.status().blocked()
        })
        .await;
    }

    /// Lifts the alarm that [`raise_alarm`](Self::raise_alarm) raised.
    ///
    /// # Panics
    /// If it fails.
    pub async fn lift_alarm(&self) {
        self.control(&["set_vm_memory_high_watermark", "0.4"]).await;
    }

    /// Ends it without a word to anybody, as a power cut would.
    pub async fn kill(&self) {
        match &self.source {
            Source::Node(node) => node.kill().await,
            #[cfg(feature = "containers")]
            Source::Container(container) => container.kill().await,
            Source::Given => panic!("the broker of AMQP_URL is not ours to kill"),
        }
    }

    /// Starts it again, with the data it had.
    pub async fn start_again(&self) {
        match &self.source {
            Source::Node(node) => node.start_again().await,
            #[cfg(feature = "containers")]
            Source::Container(container) => container.start_again().await,
            Source::Given => panic!("the broker of AMQP_URL is not ours to start"),
        }
    }
}

/// True if an installed server is to be passed over.
fn containers_only() -> bool {
    cfg!(feature = "containers") && std::env::var_os("BUS_TEST_CONTAINERS").is_some()
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("host", &self.host())
            .finish_non_exhaustive()
    }
}
