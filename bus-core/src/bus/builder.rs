//! The builder of a bus: from settings to a running bus.

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::requirements;
use super::stop::Stop;
use crate::bus::{Bus, Inner, validation};
use crate::consume::EndpointContext;
use crate::endpoint::{DEFAULT_CONCURRENCY, Endpoint, EndpointTopology, Guarantee, Policy, names};
use crate::error::{Mistakes, StartError};
use crate::message::{Contract, Message};
use crate::middleware::{
    Chain, ConfirmClaim, Flush, IdempotencyStep, Retry, RetryStep, TimeoutStep,
};
use crate::observe::{Observer, Observers, Propagator, TraceHeaders};
use crate::receive::{Consumers, CrashGuard, DEFAULT_MAX_DELIVERIES, EndpointRunner, Receiver};
use crate::request::Requests;
use crate::send::{Outbound, OutboundSettings, ReplyAddresses, SendFilter};
use crate::topology::{PublishTopologies, PublishTopology, QueueKind, Topology};
use crate::transport::{Address, InvalidAddress, ListenSpec, Transport};

const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);
const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Settings of a bus, and the calls that start it.
///
/// ```no_run
/// # use bus_core::transport::Transport;
/// # use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint, Message};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Message)]
/// # #[message("Invoicing:CreateInvoice")]
/// # struct CreateInvoice { number: String }
/// # async fn create(ctx: ConsumeContext<CreateInvoice>) -> ConsumeResult { Ok(()) }
/// # async fn run(transport: impl Transport) -> Result<(), Box<dyn std::error::Error>> {
/// let bus = Bus::builder(transport)
///     .route::<CreateInvoice>("queue:invoice-service")
///     .endpoint(Endpoint::new("invoice-service").consumer(create))
///     .start()
///     .await?;
/// bus.send(&CreateInvoice { number: "A-7".into() }).await?;
/// bus.shutdown().await?;
/// # Ok(()) }
/// ```
#[must_use = "call .start() to run it"]
pub struct BusBuilder {
    transport: Arc<dyn Transport>,
    endpoints: Vec<Endpoint>,
    policy: Policy,
    queue_kind: QueueKind,
    routes: HashMap<TypeId, Address>,
    topologies: PublishTopologies,
    filters: Vec<Arc<dyn SendFilter>>,
    reply_addresses: Option<Arc<ReplyAddresses>>,
    observers: Vec<Arc<dyn Observer>>,
    propagator: Arc<dyn Propagator>,
    deadline: Duration,
    stop_timeout: Duration,
    start_timeout: Option<Duration>,
    mistakes: Vec<String>,
}

impl Bus {
    /// Creates a builder for a bus on a transport.
    ///
    /// Nothing is connected before [`start`](BusBuilder::start).
    pub fn builder(transport: impl Transport) -> BusBuilder {
        BusBuilder::new(Arc::new(transport))
    }
}

impl BusBuilder {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Self {
        Self {
            transport,
            endpoints: Vec::new(),
            policy: Policy::new(),
            queue_kind: QueueKind::Classic,
            routes: HashMap::new(),
            topologies: PublishTopologies::default(),
            filters: Vec::new(),
            reply_addresses: None,
            observers: Vec::new(),
            propagator: Arc::new(TraceHeaders::new()),
            deadline: DEFAULT_DEADLINE,
            stop_timeout: DEFAULT_STOP_TIMEOUT,
            start_timeout: None,
            mistakes: Vec::new(),
        }
    }

    /// Adds an endpoint.
    ///
    /// Its name must be unique within the bus; a second endpoint of the same name is a
    /// configuration mistake.
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// Sets the address of commands and requests of type `C`.
    ///
    /// Without a route, a send fails with [`NoRoute`](crate::error::SendErrorKind::NoRoute), and a
    /// request is published. An address that cannot be read, or a second, different route of `C`,
    /// is a configuration mistake.
    pub fn route<C: Message>(
        mut self,
        address: impl TryInto<Address, Error: Into<InvalidAddress>>,
    ) -> Self {
        match address.try_into().map_err(Into::into) {
            Ok(address) => {
                let contract = Contract::of::<C>();
                if let Some(reason) = validation::route_mistake(&address) {
                    self.mistakes
                        .push(format!("route of {}: {reason}", contract.message_type));
                }
                let other = self.routes.insert(TypeId::of::<C>(), address.clone());
                if let Some(other) = other.filter(|other| *other != address) {
                    self.mistakes.push(format!(
                        "{} is routed twice, to `{other}` and to `{address}`; a command has one destination",
                        contract.message_type
                    ));
                }
            }
            Err(error) => self.mistakes.push(format!(
                "route of {}: {error}",
                Contract::of::<C>().message_type
            )),
        }
        self
    }

    /// Sets how the exchange of `M` is declared.
    ///
    /// Default: a durable fanout exchange. Publishers and consumers of `M` must agree on its
    /// exchange: give both buses the same setting.
    pub fn publish_topology<M: Message>(mut self, topology: PublishTopology<M>) -> Self {
        let (type_id, settings) = topology.into_settings();
        self.topologies.set(type_id, Contract::of::<M>(), settings);
        self
    }

    /// Adds a filter that changes or refuses outgoing messages.
    ///
    /// Filters run in the order of these calls. An error or a panic of a filter refuses the
    /// message; its sender gets the error.
    pub fn on_send(mut self, filter: impl SendFilter) -> Self {
        self.filters.push(Arc::new(filter));
        self
    }

    /// Restricts the addresses to which replies and faults may go.
    ///
    /// Applies to addresses that came with messages. Default: anywhere on the broker.
    ///
    /// Such an address never leads to another broker and creates nothing, but it does lead to every
    /// queue and exchange that the bus's user may write to, and a fault carries the message that
    /// failed. A consumer that responds to an address that is not allowed gets an error of kind
    /// [`Refused`](crate::error::SendErrorKind::Refused); a fault is dropped, with a line in the
    /// log.
    ///
    /// ```no_run
    /// # use bus_core::transport::Transport;
    /// # use bus_core::Bus;
    /// # fn run(transport: impl Transport) {
    /// let bus = Bus::builder(transport).reply_addresses(|address| address.name().starts_with("bus-"));
    /// # let _ = bus; }
    /// ```
    pub fn reply_addresses(
        mut self,
        allow: impl Fn(&Address) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.reply_addresses = Some(Arc::new(allow));
        self
    }

    /// Adds an observer of messages, and of the states of connections and endpoints.
    pub fn observe(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// Sets what reads and writes the trace that travels with messages.
    ///
    /// Default: [`TraceHeaders`], which continues the ids in `MT-Activity-Id` and `traceparent`.
    pub fn propagator(mut self, propagator: impl Propagator) -> Self {
        self.propagator = Arc::new(propagator);
        self
    }

    /// Sets the policy of all endpoints.
    ///
    /// An endpoint that sets something itself keeps it. The codec is that of what the bus itself
    /// sends, too. May be called several times: a later policy wins, and its middleware runs
    /// inside.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use bus_core::transport::Transport;
    /// # use bus_core::{Bus, Policy, Retry};
    /// # fn run(transport: impl Transport) {
    /// let retry = Retry::exponential(5, Duration::from_millis(100), Duration::from_secs(5));
    /// let bus = Bus::builder(transport).policy(Policy::new().retry(retry));
    /// # let _ = bus; }
    /// ```
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy.over(&self.policy);
        self
    }

    /// Makes the queues of endpoints that were made by name quorum queues.
    ///
    /// Default: classic queues. Endpoints on a queue of their own keep it. See
    /// [`Queue::quorum`](crate::topology::Queue::quorum).
    pub fn quorum(mut self) -> Self {
        self.queue_kind = QueueKind::Quorum;
        self
    }

    /// Sets the default time limit of a publish, send or respond.
    ///
    /// It includes the wait for an absent broker, and is also the default timeout of requests. Past
    /// it, a call fails with [`Unreachable`](crate::error::SendErrorKind::Unreachable), or with
    /// [`TimedOut`](crate::error::SendErrorKind::TimedOut) if the message may have arrived.
    /// `Duration::MAX` is without end. Default: 30 s. Zero is a configuration mistake.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets the time that [`start`](Self::start) waits for a broker that is not up.
    ///
    /// Default: no limit. Past it, `start` fails with [`StartError::Timeout`]. Zero is a
    /// configuration mistake.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = Some(timeout);
        self
    }

    /// Sets the time that [`Bus::shutdown`] waits for running consumers.
    ///
    /// Default: 30 s. Past it, consumers are cancelled, and their messages go back to the queues.
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.stop_timeout = timeout;
        self
    }

    /// Connects, declares the topology, and starts to consume.
    ///
    /// A broker that is not up is waited for, up to the [`start_timeout`](Self::start_timeout).
    ///
    /// # Errors
    /// [`StartError`]: all configuration mistakes together, before anything is connected; a refusal
    /// of the broker; or the end of the start timeout.
    pub async fn start(self) -> Result<Bus, StartError> {
        self.check()?;
        self.connect().await?;
        let transport = Arc::clone(&self.transport);
        match self.run().await {
            Ok(bus) => Ok(bus),
            Err(error) => {
                transport.close().await;
                Err(error)
            }
        }
    }

    /// Connects, declares the topology of all endpoints, and disconnects.
    ///
    /// Consumes nothing. Includes the error and skipped queues, which a running bus declares with
    /// the first message that needs them.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn deploy_topology(self) -> Result<(), StartError> {
        self.check()?;
        self.connect().await?;
        let outcome = self.deploy().await;
        self.transport.close().await;
        outcome
    }

    async fn deploy(&self) -> Result<(), StartError> {
        for endpoint in &self.endpoints {
            let topology = self.topology_of(endpoint);
            for part in [&topology.main, &topology.error, &topology.skipped] {
                self.declare(&endpoint.name, part).await?;
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), StartError> {
        let mut mistakes = self.transport.mistakes();
        mistakes.extend(self.mistakes.iter().cloned());
        mistakes.extend(validation::mistakes(&self.endpoints, &self.policy));
        let claimed = self.transport.capabilities();
        mistakes.extend(self.endpoints.iter().filter_map(|endpoint| {
            requirements::of_endpoint(endpoint, &self.topology_of(endpoint), claimed)
        }));
        let published = self.topologies.exchanges();
        mistakes.extend(
            published.filter_map(|exchange| requirements::of_published(&exchange, claimed)),
        );
        mistakes.extend(validation::time_mistakes(self.deadline, self.start_timeout));
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(StartError::Configuration(Mistakes::new(mistakes)))
        }
    }

    async fn connect(&self) -> Result<(), StartError> {
        let connected = self.transport.connect();
        match self.start_timeout {
            None => Ok(connected.await?),
            Some(limit) => match tokio::time::timeout(limit, connected).await {
                Ok(connected) => Ok(connected?),
                Err(_) => Err(StartError::Timeout {
                    address: self.transport.base_address(),
                    after: limit,
                }),
            },
        }
    }

    async fn run(mut self) -> Result<Bus, StartError> {
        let (cancel, cancelled) = watch::channel(false);
        let observers = Observers::new(std::mem::take(&mut self.observers));
        let reply_queue = names::temporary("bus");
        let settings = OutboundSettings {
            source: Address::temporary(reply_queue.clone())
                .to_uri(&self.transport.base_address())
                .into(),
            codec: self.policy.codec.unwrap_or_default(),
            deadline: self.deadline,
            routes: std::mem::take(&mut self.routes),
            filters: std::mem::take(&mut self.filters),
            reply_addresses: self.reply_addresses.take(),
            propagator: Arc::clone(&self.propagator),
        };
        let outbound = Arc::new(Outbound::new(
            Arc::clone(&self.transport),
            self.topologies.clone(),
            observers,
            settings,
        ));
        let requests = Arc::new(Requests::new(Arc::clone(&outbound), reply_queue));
        let mut runners = Vec::new();
        for endpoint in std::mem::take(&mut self.endpoints) {
            let topology = self.topology_of(&endpoint);
            self.declare(&endpoint.name, &topology.main).await?;
            let (outbound, requests) = (Arc::clone(&outbound), Arc::clone(&requests));
            runners.push(Arc::new(self.runner(
                endpoint,
                topology,
                Shared {
                    outbound,
                    requests,
                    cancelled: cancelled.clone(),
                },
            )));
        }
        let inner = Inner {
            outbound,
            requests,
            runners,
            cancel,
            stop_timeout: self.stop_timeout,
            stop: Stop::new(),
        };
        for runner in &inner.runners {
            let started = runner.start().await;
            started.map_err(|source| StartError::Endpoint {
                endpoint: runner.name().to_owned(),
                source,
            })?;
        }
        Ok(Bus::new(inner))
    }

    async fn declare(&self, endpoint: &str, topology: &Topology) -> Result<(), StartError> {
        let declared = self.transport.declare(topology).await;
        declared.map_err(|source| StartError::Endpoint {
            endpoint: endpoint.to_owned(),
            source,
        })
    }

    fn topology_of(&self, endpoint: &Endpoint) -> EndpointTopology {
        EndpointTopology::new(endpoint, self.queue_kind, &self.topologies)
    }

    fn runner(
        &self,
        mut endpoint: Endpoint,
        topology: EndpointTopology,
        shared: Shared,
    ) -> EndpointRunner {
        let policy = std::mem::take(&mut endpoint.policy).over(&self.policy);
        let concurrency = policy.concurrency.unwrap_or(DEFAULT_CONCURRENCY);
        let twice = u16::try_from(concurrency.saturating_mul(2)).unwrap_or(u16::MAX);
        let spec = ListenSpec {
            queue: endpoint.name.clone(),
            topology: Arc::clone(&topology.main),
            prefetch: policy.prefetch.unwrap_or(twice),
            priority: endpoint.consumer_priority,
            exclusive: endpoint.exclusive_consumer,
            stream_offset: endpoint.stream_offset,
        };
        let context = Arc::new(EndpointContext {
            address: Address::exchange(endpoint.name.clone())
                .to_uri(&shared.outbound.base)
                .into(),
            codec: policy.codec.unwrap_or_default(),
            is_tap: endpoint.is_tap(),
            name: endpoint.name,
            outbound: shared.outbound,
            requests: shared.requests,
            cancelled: shared.cancelled,
            troubles: Arc::default(),
        });
        let max_deliveries = policy.max_deliveries.unwrap_or(DEFAULT_MAX_DELIVERIES);
        let dead_lettering = policy.dead_lettering();
        let receiver = Receiver {
            crash_guard: CrashGuard::new(max_deliveries),
            endpoint: context,
            chain: chain(policy, endpoint.guarantee),
            consumers: Consumers::new(&endpoint.registrations),
            topology,
            guarantee: endpoint.guarantee,
            dead_lettering,
        };
        EndpointRunner::new(
            Arc::new(receiver),
            Arc::clone(&self.transport),
            spec,
            concurrency,
        )
    }
}

/// State that all endpoints of a bus share.
struct Shared {
    outbound: Arc<Outbound>,
    requests: Arc<Requests>,
    cancelled: watch::Receiver<bool>,
}

/// Builds the middleware chain, in an order independent of the order of calls.
fn chain(policy: Policy, guarantee: Guarantee) -> Chain {
    let once = guarantee == Guarantee::AtMostOnce;
    let outbox = policy.outbox.unwrap_or(true);
    let mut chain = policy.middleware;
    let idempotency = policy.idempotency.filter(|_| !once);
    let keep_replies = idempotency.is_some();
    if let Some(idempotency) = &idempotency {
        chain.push(Arc::new(IdempotencyStep::new(idempotency.clone())));
    }
    if outbox {
        chain.push(Arc::new(Flush { keep_replies }));
        chain.extend(idempotency.map(|claims| Arc::new(ConfirmClaim(claims)) as _));
    }
    let retry = policy.retry.filter(|_| !once).unwrap_or_else(Retry::none);
    chain.push(Arc::new(RetryStep { retry, outbox }));
    chain.extend(policy.around_attempt);
    if let Some(timeout) = policy.timeout.filter(|timeout| *timeout != Duration::MAX) {
        chain.push(Arc::new(TimeoutStep(timeout)));
    }
    chain.into()
}

impl fmt::Debug for BusBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusBuilder")
            .field("transport", &self.transport)
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}
