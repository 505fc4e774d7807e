//! From settings to a running bus.

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::stop::Stop;
use crate::bus::{Bus, Inner, validation};
use crate::codec::Codec;
use crate::consume::EndpointContext;
use crate::endpoint::{
    DEFAULT_CONCURRENCY, Endpoint, EndpointTopology, Guarantee, Policy, QueueShape, names,
};
use crate::error::{Mistakes, StartError};
use crate::message::{Contract, Message};
use crate::middleware::{
    Chain, ConfirmClaim, Flush, Idempotency, IdempotencyStep, Middleware, Retry, RetryStep,
    TimeoutStep,
};
use crate::observe::{Observer, Observers};
use crate::receive::{Consumers, CrashGuard, DEFAULT_MAX_DELIVERIES, EndpointRunner, Receiver};
use crate::request::Requests;
use crate::send::{Outbound, OutboundSettings, ReplyAddresses, SendFilter};
use crate::topology::{PublishTopologies, PublishTopology, Topology};
use crate::transport::{Address, InvalidAddress, ListenSpec, Transport};

const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);
const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Settings of a bus. Those that endpoints have too are defaults for endpoints that do not say otherwise.
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
    routes: HashMap<TypeId, Address>,
    topologies: PublishTopologies,
    filters: Vec<Arc<dyn SendFilter>>,
    reply_addresses: Option<Arc<ReplyAddresses>>,
    observers: Vec<Arc<dyn Observer>>,
    deadline: Duration,
    stop_timeout: Duration,
    start_timeout: Option<Duration>,
    mistakes: Vec<String>,
}

impl Bus {
    /// Begins a bus on a transport.
    pub fn builder(transport: impl Transport) -> BusBuilder {
        BusBuilder::new(Arc::new(transport))
    }
}

impl BusBuilder {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Self {
        Self {
            transport,
            endpoints: Vec::new(),
            policy: Policy::default(),
            routes: HashMap::new(),
            topologies: PublishTopologies::default(),
            filters: Vec::new(),
            reply_addresses: None,
            observers: Vec::new(),
            deadline: DEFAULT_DEADLINE,
            stop_timeout: DEFAULT_STOP_TIMEOUT,
            start_timeout: None,
            mistakes: Vec::new(),
        }
    }

    /// Adds an endpoint.
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// Where commands of type `C` are sent, and requests.
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

    /// How the exchange of `M` is declared, where a fanout exchange is not what is wanted.
    pub fn publish_topology<M: Message>(mut self, topology: PublishTopology<M>) -> Self {
        let (type_id, settings) = topology.into_settings();
        self.topologies.set(type_id, Contract::of::<M>(), settings);
        self
    }

    /// Adds a filter that changes or refuses what leaves. Filters run in the order of these calls.
    pub fn on_send(mut self, filter: impl SendFilter) -> Self {
        self.filters.push(Arc::new(filter));
        self
    }

    /// Bounds where replies and faults go whose addresses came with messages. Default: anywhere on the broker.
    ///
    /// Such an address never leads to another broker and creates nothing, but it does lead to every queue and exchange
    /// that the bus's user may write to, and a fault carries the message that failed. A consumer that responds to an
    /// address that is not allowed gets an error of kind [`Refused`](crate::error::SendErrorKind::Refused); a fault is dropped,
    /// with a line in the log.
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

    /// Adds somebody who watches.
    pub fn observe(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// How many messages each endpoint handles at once. Default: 16.
    pub fn concurrency(mut self, limit: usize) -> Self {
        self.policy.concurrency = Some(limit);
        self
    }

    /// How many messages each endpoint prefetches. Default: twice its concurrency.
    pub fn prefetch(mut self, count: u16) -> Self {
        self.policy.prefetch = Some(count);
        self
    }

    /// When failed messages are tried again. Default: never.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.policy.retry = Some(retry);
        self
    }

    /// How long one attempt of a consumer may take. Default: for ever.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.policy.timeout = Some(timeout);
        self
    }

    /// Sets how often a message may be delivered on every endpoint; see [`Endpoint::max_deliveries`]. Default: 10.
    pub fn max_deliveries(mut self, count: u32) -> Self {
        self.policy.max_deliveries = Some(count);
        self
    }

    /// Handles each message once on every endpoint. Keys include the endpoint's name.
    pub fn idempotency(mut self, idempotency: impl Into<Idempotency>) -> Self {
        self.policy.idempotency = Some(idempotency.into());
        self
    }

    /// Lets what consumers send leave at once, even if they fail later.
    pub fn without_outbox(mut self) -> Self {
        self.policy.outbox = Some(false);
        self
    }

    /// Runs around each delivery of every endpoint.
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.policy.middleware.push(Arc::new(middleware));
        self
    }

    /// Runs around each attempt of every endpoint.
    pub fn around_attempt(mut self, middleware: impl Middleware) -> Self {
        self.policy.around_attempt.push(Arc::new(middleware));
        self
    }

    /// How messages are encoded, and bodies read that do not say what they are. Default: MassTransit's envelope.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.policy.codec = Some(codec);
        self
    }

    /// Makes every endpoint a quorum queue that does not say otherwise; see [`Endpoint::quorum`].
    pub fn quorum(mut self) -> Self {
        self.policy.queue_kind = Some(QueueShape::Quorum);
        self
    }

    /// How long a publish, send or respond may take by default, an absent broker included; also the default timeout of
    /// requests. `Duration::MAX` is without end. Default: 30 s.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long `start` waits for a broker that is not up. Default: for ever.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = Some(timeout);
        self
    }

    /// How long `shutdown` waits for running consumers. Default: 30 s.
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.stop_timeout = timeout;
        self
    }

    /// Connects, declares, and starts to consume.
    ///
    /// # Errors
    /// [`StartError`]: all configuration mistakes together, before anything is connected; or what the broker refused.
    /// A broker that is not up is waited for.
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

    /// Connects and declares everything that `start` would, then disconnects; consumes nothing.
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
        let capabilities = self.transport.capabilities();
        let mut mistakes = self.transport.mistakes();
        mistakes.extend(self.mistakes.iter().cloned());
        mistakes.extend(validation::mistakes(
            &self.endpoints,
            &self.policy,
            capabilities,
        ));
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
        let shape = endpoint
            .policy
            .queue_kind
            .or(self.policy.queue_kind.filter(|_| endpoint.may_be_quorum()));
        EndpointTopology::new(endpoint, shape.unwrap_or_default(), &self.topologies)
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
        let receiver = Receiver {
            crash_guard: CrashGuard::new(max_deliveries),
            endpoint: context,
            chain: chain(policy, endpoint.guarantee),
            consumers: Consumers::new(&endpoint.registrations),
            topology,
            guarantee: endpoint.guarantee,
            dead_lettering: endpoint.dead_lettering,
        };
        EndpointRunner::new(
            Arc::new(receiver),
            Arc::clone(&self.transport),
            spec,
            concurrency,
        )
    }
}

/// What all endpoints of a bus hold.
struct Shared {
    outbound: Arc<Outbound>,
    requests: Arc<Requests>,
    cancelled: watch::Receiver<bool>,
}

/// The order of middleware, whatever the order of calls.
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
    if let Some(timeout) = policy.timeout {
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
