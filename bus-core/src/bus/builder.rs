//! The builder of a bus: its settings.

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::background::BackgroundService;
use crate::bus::{Bus, refused_names};
use crate::endpoint::{Endpoint, Policy};
use crate::message::{Contract, Message};
use crate::observe::{Observer, Propagator, TraceHeaders};
use crate::send::{ReplyAddresses, Scheduler, SendFilter};
use crate::topology::{PublishTopologies, PublishTopology, QueueKind};
use crate::transport::{Address, InvalidAddress, Transport};

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
    pub(super) transport: Arc<dyn Transport>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) background: Vec<Arc<dyn BackgroundService>>,
    pub(super) scheduler: Option<Arc<dyn Scheduler>>,
    pub(super) policy: Policy,
    pub(super) queue_kind: QueueKind,
    pub(super) routes: HashMap<TypeId, Address>,
    pub(super) topologies: PublishTopologies,
    pub(super) filters: Vec<Arc<dyn SendFilter>>,
    pub(super) reply_addresses: Option<Arc<ReplyAddresses>>,
    pub(super) observers: Vec<Arc<dyn Observer>>,
    pub(super) propagator: Arc<dyn Propagator>,
    pub(super) deadline: Duration,
    pub(super) stop_timeout: Duration,
    pub(super) start_timeout: Option<Duration>,
    pub(super) mistakes: Vec<String>,
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
        let names = Arc::clone(&transport);
        let topologies = PublishTopologies::new(move |named| names.entity_name(named).into_owned());
        Self {
            transport,
            endpoints: Vec::new(),
            background: Vec::new(),
            scheduler: None,
            policy: Policy::new(),
            queue_kind: QueueKind::Classic,
            routes: HashMap::new(),
            topologies,
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

    /// Adds a background service.
    ///
    /// Its name must be unique within the bus; a second service of the same name is a configuration
    /// mistake. Services start in the order of these calls and stop in the reverse one: one that
    /// needs another is added after it.
    ///
    /// ```no_run
    /// # use bus_core::transport::Transport;
    /// # use bus_core::{Bus, Endpoint, StartError};
    /// # use bus_core::background::BackgroundService;
    /// # async fn run(transport: impl Transport, relay: impl BackgroundService, endpoint: Endpoint) -> Result<(), StartError> {
    /// let bus = Bus::builder(transport).background(relay).endpoint(endpoint).start().await?;
    /// let health = bus.health();
    /// for service in health.background.iter().filter(|service| !service.is_healthy()) {
    ///     eprintln!("{}: {:?}, {:?}", service.name, service.state, service.reason);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn background(mut self, service: impl BackgroundService) -> Self {
        self.background.push(Arc::new(service));
        self
    }

    /// Sets the scheduler, which keeps messages until they are due.
    ///
    /// It makes messages cancellable on transports that cannot cancel, such as RabbitMQ: that of
    /// bus-sql keeps them in tables, a [`MassTransitScheduler`](crate::send::MassTransitScheduler)
    /// asks another service. Messages of a transaction of bus-sql are kept with it all the same,
    /// and redelivered messages wait at the broker. Default: none; messages wait at the broker,
    /// where it can delay.
    ///
    /// ```no_run
    /// # use bus_core::transport::Transport;
    /// # use bus_core::{Bus, StartError};
    /// use bus_core::send::MassTransitScheduler;
    /// # async fn run(transport: impl Transport) -> Result<(), StartError> {
    /// let quartz = MassTransitScheduler::new("quartz");
    /// let bus = Bus::builder(transport).scheduler(quartz).start().await?;
    /// # Ok(()) }
    /// ```
    pub fn scheduler(mut self, scheduler: impl Scheduler) -> Self {
        self.scheduler = Some(Arc::new(scheduler));
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
                if let Some(error) = refused_names::of_route(&address, &*self.transport) {
                    self.mistakes
                        .push(format!("route of {}: {error}", contract.message_type));
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
        let message_type = Contract::of::<M>().message_type.clone();
        self.topologies.set(message_type, topology.into_settings());
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
    /// Default: no limit. Past it, `start` fails with
    /// [`StartError::Timeout`](crate::StartError::Timeout). Zero is a configuration mistake.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = Some(timeout);
        self
    }

    /// Sets the time that [`Bus::shutdown`] waits for what runs.
    ///
    /// Default: 30 s. Past it, consumers are cancelled, and their messages go back to the queues.
    /// Background services have what the consumers have left of it, a second each at least, and
    /// are aborted then.
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.stop_timeout = timeout;
        self
    }
}

impl fmt::Debug for BusBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusBuilder")
            .field("transport", &self.transport)
            .field("endpoints", &self.endpoints)
            .field("background", &self.background)
            .finish_non_exhaustive()
    }
}
