//! Handle that a bus is built on.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bus_core::topology::Topology;
use bus_core::transport::{
    Capabilities, Capability, Health, ListenSpec, Listener, Outgoing, Target, Transport,
    TransportError, TransportErrorKind,
};
use futures_util::future::BoxFuture;
use tokio::sync::{OnceCell, watch};

use crate::config::{Config, Host};
use crate::connection::Siblings;
use crate::consume::QueueListener;
use crate::error::{closed, no_exchange};
use crate::publish::Publisher;
use crate::running::Running;
use crate::tls::Tls;
use crate::{convert, delay, topology};

/// Time for which an outbox waits to learn whether an exchange exists.
///
/// A broker that takes longer refuses nothing: the message is found unroutable when it leaves.
const LOOK: Duration = Duration::from_secs(2);

/// Features that it has beyond the common contract.
const CLAIMED: Capabilities = Capabilities::of(&[
    Capability::AlternateExchanges,
    Capability::ConsumerPriorities,
    Capability::DelayedDelivery,
    Capability::ExclusiveConsumers,
    Capability::HeadersExchanges,
    Capability::Mandatory,
    Capability::MessageTtl,
    Capability::Persistence,
    Capability::Prefetch,
    Capability::Priorities,
    Capability::QueueLimits,
    Capability::QuorumQueues,
    Capability::RoutingKeys,
    Capability::SingleActiveConsumer,
    Capability::Streams,
]);

/// RabbitMQ broker, as a transport of the bus.
///
/// Settings come first; the bus connects it. One connection publishes. The first endpoint, or the
/// first request, makes another one to consume, so that a broker that takes no messages for a while
/// still takes acknowledgements. Both are made again after a loss, with growing waits.
///
/// ```no_run
/// use std::time::Duration;
/// use bus_core::Bus;
/// use bus_rabbitmq::RabbitMq;
///
/// # async fn run() -> Result<(), bus_core::StartError> {
/// let transport = RabbitMq::new("amqp://app:secret@rabbit-1,rabbit-2/orders").heartbeat(Duration::from_secs(10));
/// let bus = Bus::builder(transport).start().await?;
/// # Ok(()) }
/// ```
///
/// A start waits for a broker that is away, and fails for one that refuses the settings. A clone
/// has the same settings and makes connections of its own.
#[must_use = "give it to Bus::builder(…)"]
pub struct RabbitMq {
    config: Config,
    siblings: Siblings,
    running: OnceCell<Running>,
    closed: AtomicBool,
}

impl RabbitMq {
    /// Reads the address `amqp://user:password@host:5672/vhost`, or `amqps://` for TLS.
    ///
    /// Several hosts of a cluster, joined by `,`, are tried in turn. In user, password and virtual
    /// host, `/`, `?`, `@` and `%` are percent-encoded. Defaults: user and password `guest`, port
    /// 5672 (TLS: 5671), virtual host `/`. The option `?heartbeat=10` is known; others are ignored.
    ///
    /// Nothing is connected yet. A wrong address is reported by
    /// [`BusBuilder::start`](bus_core::BusBuilder::start), with all other mistakes.
    ///
    /// ```
    /// use bus_core::transport::Transport;
    /// use bus_rabbitmq::RabbitMq;
    ///
    /// let transport = RabbitMq::new("amqps://app:p%40ss@rabbit-1:5671,rabbit-2/team%2Forders");
    /// assert_eq!(transport.base_address(), "rabbitmqs://rabbit-1/team%2Forders/");
    /// assert_eq!(RabbitMq::new("http://rabbit-1").mistakes().len(), 1);
    /// ```
    pub fn new(address: impl AsRef<str>) -> Self {
        Self::of(Config::new(address.as_ref()))
    }

    fn of(config: Config) -> Self {
        Self {
            config,
            siblings: Siblings::new(),
            running: OnceCell::new(),
            closed: AtomicBool::new(false),
        }
    }

    fn set(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Sets user and password, instead of those in the address.
    ///
    /// They are taken as they are, without percent-encoding.
    ///
    /// ```
    /// # use bus_rabbitmq::RabbitMq;
    /// # fn read_secret() -> String { "p@ss/word".to_owned() }
    /// let transport = RabbitMq::new("amqp://rabbit-1").credentials("app", read_secret());
    /// # assert!(!format!("{transport:?}").contains("p@ss"), "secrets are never printed");
    /// ```
    pub fn credentials(self, user: impl Into<String>, password: impl AsRef<str>) -> Self {
        self.set(|config| config.set_credentials(user.into(), password.as_ref()))
    }

    /// Adds another host of the cluster, tried when the others do not answer.
    ///
    /// It is written `name`, `name:port` or `[v6]:port`; default port: 5672 (TLS: 5671). A wrong
    /// host is reported by [`BusBuilder::start`](bus_core::BusBuilder::start).
    ///
    /// ```
    /// # use bus_rabbitmq::RabbitMq;
    /// let transport = RabbitMq::new("amqp://rabbit-1/orders").host("rabbit-2").host("[::1]:5673");
    /// # use bus_core::transport::Transport;
    /// # assert!(transport.mistakes().is_empty());
    /// ```
    pub fn host(self, host: impl AsRef<str>) -> Self {
        self.set(|config| match Host::read(host.as_ref(), config.encrypted) {
            Ok(host) => config.hosts.push(host),
            Err(reason) => config.mistakes.push(format!("host: {reason}")),
        })
    }

    /// Sets the name of the connections in the management pages.
    ///
    /// It is followed by the purpose of each, `publish` or `consume`. Default: the program's name.
    pub fn connection_name(self, name: impl Into<String>) -> Self {
        self.set(|config| config.name = name.into())
    }

    /// Sets the heartbeat interval. Default: 15 s.
    ///
    /// A peer that sends nothing for twice as long is taken for dead. Whole seconds; less than 1 s
    /// is reported by [`BusBuilder::start`](bus_core::BusBuilder::start). Without heartbeats, a
    /// connection whose peer vanished without a word (a pulled cable, a firewall that forgot it)
    /// would be found dead by the next write at best.
    pub fn heartbeat(self, heartbeat: Duration) -> Self {
        self.set(|config| config.heartbeat = heartbeat)
    }

    /// Sets the time that one attempt to connect may take. Default: 10 s.
    ///
    /// It covers name resolution, TCP, TLS and the AMQP handshake. Zero is reported by
    /// [`BusBuilder::start`](bus_core::BusBuilder::start).
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        self.set(|config| config.connect_timeout = timeout)
    }

    /// Sets the waits between attempts to connect. Default: 200 ms and 2 s.
    ///
    /// They begin at about `first`, then double each time, with jitter, up to `cap`. A connection
    /// that is made ends the waits of the transport's other one. Attempts never end: a broker that
    /// comes back is found within about `cap`.
    pub fn reconnect_backoff(self, first: Duration, cap: Duration) -> Self {
        self.set(|config| config.reconnect = (first, cap))
    }

    /// Sets the interval at which endpoints declare their topology again. Default: 5 s.
    ///
    /// Each endpoint declares its exchanges and bindings. An exchange that an operator deletes
    /// takes its bindings with it, and RabbitMQ notifies no subscriber. Publishers make the
    /// exchange again; only this interval makes the subscribers receive its messages again. Zero is
    /// reported by [`BusBuilder::start`](bus_core::BusBuilder::start).
    pub fn rebind_interval(self, interval: Duration) -> Self {
        self.set(|config| config.rebind = interval)
    }

    /// Sets the beginning of the names of the queues in which delayed messages wait.
    ///
    /// Default: `bus.delay.v1`. There are 28 of them for each virtual host, declared with the first
    /// delayed message. Applications with names of their own cannot hold each other up. A name that
    /// is empty or longer than 200 bytes is reported by
    /// [`BusBuilder::start`](bus_core::BusBuilder::start).
    pub fn delay_prefix(self, prefix: impl Into<String>) -> Self {
        self.set(|config| config.delay_prefix = prefix.into())
    }

    /// Bounds the number of messages that wait for their confirm. Default: 1000.
    ///
    /// Further ones wait their turn. One exchange or queue takes at most half of the places that
    /// the others leave, so that a queue which confirms nothing does not stop them. Zero is
    /// reported by [`BusBuilder::start`](bus_core::BusBuilder::start).
    ///
    /// A larger window costs memory, and more messages that arrive twice after a lost connection; a
    /// smaller one costs throughput, as a confirm takes a round trip and a write to disk.
    pub fn confirm_window(self, count: usize) -> Self {
        self.set(|config| config.confirm_window = count)
    }

    /// Sets the certificates, for `amqps://` addresses.
    ///
    /// Replaces settings that were given before. Without it, the system's authorities are trusted.
    /// For an `amqp://` address they have no effect.
    pub fn tls(self, tls: Tls) -> Self {
        self.set(|config| config.tls = tls)
    }

    /// Returns the parts that exist once it is connected.
    ///
    /// Fails with `Closed` after `close`, and with `Unreachable` before `connect`.
    fn running(&self) -> Result<&Running, TransportError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        self.running.get().ok_or_else(|| {
            let text = format!("not connected to {} yet", self.config.base_address());
            TransportError::new(TransportErrorKind::Unreachable, text)
        })
    }

    /// Sends a message that is not due yet.
    async fn send_later(&self, outgoing: Outgoing) -> Result<(), TransportError> {
        let running = self.running()?;
        let link = running.declaring();
        let entering = running.delays.enter(outgoing, link, &running.config);
        let (job, outcome) = running.publisher.prepare(entering.await?)?;
        running.publisher.hand_over(job)?;
        outcome.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Chooses the publisher by the target of a message.
    fn publisher_of(&self, outgoing: &Outgoing) -> Result<&Publisher, TransportError> {
        let running = self.running()?;
        Ok(match &outgoing.target {
            Target::Inbox(_) => &running.replies,
            Target::Queue(_) | Target::Exchange { .. } => &running.publisher,
        })
    }
}

impl Clone for RabbitMq {
    /// Copies the settings; the clone makes connections of its own.
    fn clone(&self) -> Self {
        Self::of(self.config.clone())
    }
}

#[async_trait]
impl Transport for RabbitMq {
    async fn connect(&self) -> Result<(), TransportError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        let start = || Running::start(&self.config, &self.siblings);
        self.running.get_or_try_init(start).await?;
        Ok(())
    }

    async fn declare(&self, topology: &Topology) -> Result<(), TransportError> {
        let running = self.running()?;
        let mut backoff = running.config.backoff();
        // Exclusive queues belong to the connection that declares them, so to the one that
        // consumes.
        let consuming = running.consuming().await;
        loop {
            let live = consuming.up().await?;
            match live.ask(topology::declare(&live, topology)).await {
                Err(error) if error.kind().is_transient() => {
                    tracing::warn!(%error, "the topology cannot be declared yet");
                    consuming.suspect();
                }
                outcome => return outcome,
            }
            backoff.wait().await;
        }
    }

    // Without the macro, whose future would hold the message beside the job that it becomes.
    fn send<'a, 'b>(&'a self, outgoing: Outgoing) -> BoxFuture<'b, Result<(), TransportError>>
    where
        'a: 'b,
        Self: 'b,
    {
        if outgoing.deliver_at.is_some() {
            return Box::pin(self.send_later(outgoing));
        }
        let prepared = self.publisher_of(&outgoing).and_then(|publisher| {
            let (job, outcome) = publisher.prepare(outgoing)?;
            Ok((publisher, job, outcome))
        });
        Box::pin(async move {
            let (publisher, job, outcome) = prepared?;
            publisher.hand_over(job)?;
            outcome.await.unwrap_or_else(|_| Err(closed()))
        })
    }

    fn check(&self, outgoing: &Outgoing) -> Result<(), TransportError> {
        convert::check(outgoing)?;
        match outgoing.deliver_at {
            None => Ok(()),
            Some(_) => delay::check(outgoing).map(drop),
        }
    }

    async fn find_exchange(&self, name: &str) -> Result<(), TransportError> {
        let Some(live) = self.running()?.publishing.live() else {
            return Ok(());
        };
        let exists = live.ask(topology::exchange_exists(&live, name));
        match tokio::time::timeout(LOOK, exists).await {
            Ok(Ok(false)) => Err(no_exchange(name)),
            // A broker that is away, or that is busy, refuses nothing.
            _ => Ok(()),
        }
    }

    async fn listen(&self, spec: ListenSpec) -> Result<Arc<dyn Listener>, TransportError> {
        let running = self.running()?;
        let link = Arc::clone(running.consuming().await);
        let config = Arc::clone(&running.config);
        Ok(QueueListener::start(link, config, spec).await?)
    }

    fn base_address(&self) -> String {
        self.config.base_address()
    }

    fn capabilities(&self) -> Capabilities {
        CLAIMED
    }

    fn mistakes(&self) -> Vec<String> {
        self.config.mistakes()
    }

    fn health(&self) -> Health {
        let Ok(running) = self.running() else {
            return Health::Down("not connected".to_owned());
        };
        running.health()
    }

    fn health_changes(&self) -> watch::Receiver<()> {
        self.siblings.health_changes()
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        if let Some(running) = self.running.get() {
            running.close().await;
        }
    }
}

impl fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}
