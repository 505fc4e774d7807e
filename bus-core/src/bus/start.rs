//! The start of a bus: checks, connects, declares, and puts the parts together.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::builder::BusBuilder;
use super::stop::Stop;
use super::{disconnect, refused_names, requirements};
use crate::background::{self, Services};
use crate::bus::{Bus, Inner, validation};
use crate::consume::{Control, EndpointContext, Pause, Registration};
use crate::endpoint::{Endpoint, EndpointTopology, Guarantee, Policy, names};
use crate::error::{Mistakes, StartError};
use crate::flow::Switch;
use crate::middleware::{
    Chain, ConfirmClaim, Flush, IdempotencyStep, Retry, RetryStep, TimeoutStep,
};
use crate::observe::Observers;
use crate::receive::{
    Consumers, CrashGuard, DEFAULT_MAX_DELIVERIES, EndpointRunner, Receiver, lane_count, obey,
};
use crate::request::Requests;
use crate::send::{Outbound, OutboundSettings, Sender};
use crate::topology::Topology;
use crate::transport::{Address, ListenSpec, ReplyInbox};

impl BusBuilder {
    /// Connects, declares the topology, and starts to consume.
    ///
    /// A broker that is not up is waited for, up to the [`start_timeout`](Self::start_timeout).
    /// [Background services](Self::background), and the stores of endpoints, are prepared before
    /// anything is declared; the services run before anything is consumed.
    ///
    /// # Errors
    /// [`StartError`]: all configuration mistakes together, before anything is connected; a
    /// background service or a store that cannot be prepared; a refusal of the broker; or the end
    /// of the start timeout. Nothing runs on: what was begun is stopped as [`Bus::shutdown`] would.
    pub async fn start(self) -> Result<Bus, StartError> {
        self.check()?;
        self.connect().await?;
        let transport = Arc::clone(&self.transport);
        match self.run().await {
            Ok(bus) => Ok(bus),
            Err(error) => {
                disconnect(&*transport).await;
                Err(error)
            }
        }
    }

    /// Connects, declares the topology of all endpoints, and disconnects.
    ///
    /// Consumes nothing, and prepares neither background services nor stores. Includes the error
    /// and skipped queues, which a running bus declares with the first message that needs them.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn deploy_topology(self) -> Result<(), StartError> {
        self.check()?;
        self.connect().await?;
        let outcome = self.deploy().await;
        disconnect(&*self.transport).await;
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
        mistakes.extend(refused_names::mistakes(
            &self.endpoints,
            &self.topologies,
            &*self.transport,
        ));
        let claimed = self.transport.capabilities();
        let endpoints = self.endpoints.iter();
        mistakes.extend(endpoints.filter_map(|endpoint| {
            requirements::of_endpoint(endpoint, &self.policy, self.queue_kind, claimed)
        }));
        let published = self.topologies.exchanges();
        mistakes.extend(
            published.filter_map(|exchange| requirements::of_published(&exchange, claimed)),
        );
        mistakes.extend(validation::background_mistakes(&self.background));
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
        background::prepare(&self.background).await?;
        self.prepare_stores().await?;
        let (cancel, cancelled) = watch::channel(false);
        let inbox = self.transport.reply_inbox(&names::temporary("bus"));
        let outbound = Arc::new(self.outbound(&inbox));
        let requests = Arc::new(Requests::new(Arc::clone(&outbound), inbox));
        let shared = Shared {
            outbound: Arc::clone(&outbound),
            requests: Arc::clone(&requests),
            cancelled,
        };
        let runners = self.runners(&shared).await?;
        let sender = Sender::new(Arc::clone(&outbound));
        let inner = Inner {
            outbound,
            requests,
            runners,
            background: Services::start(std::mem::take(&mut self.background), &sender),
            sender,
            cancel,
            stop_timeout: self.stop_timeout,
            stop: Stop::new(),
        };
        if let Err(error) = inner.consume().await {
            inner.abandon_start().await;
            return Err(error);
        }
        Ok(Bus::new(inner))
    }

    fn outbound(&mut self, inbox: &ReplyInbox) -> Outbound {
        let observers = Observers::new(std::mem::take(&mut self.observers));
        let settings = OutboundSettings {
            source: inbox.address.to_uri(&self.transport.base_address()).into(),
            codec: self.policy.codec.unwrap_or_default(),
            deadline: self.deadline,
            routes: std::mem::take(&mut self.routes),
            filters: std::mem::take(&mut self.filters),
            reply_addresses: self.reply_addresses.take(),
            propagator: Arc::clone(&self.propagator),
            scheduler: self.scheduler.take(),
        };
        Outbound::new(
            Arc::clone(&self.transport),
            self.topologies.clone(),
            observers,
            settings,
        )
    }

    /// Declares the topology of the endpoints, and makes their runners.
    async fn runners(&mut self, shared: &Shared) -> Result<Vec<Arc<EndpointRunner>>, StartError> {
        let mut runners = Vec::new();
        for endpoint in std::mem::take(&mut self.endpoints) {
            let topology = self.topology_of(&endpoint);
            self.declare(&endpoint.name, &topology.main).await?;
            runners.push(Arc::new(self.runner(endpoint, topology, shared.clone())));
        }
        Ok(runners)
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
        let limits = policy.limits(endpoint.batched());
        let spec = ListenSpec {
            queue: endpoint.name.clone(),
            topology: Arc::clone(&topology.main),
            prefetch: limits.prefetch,
            priority: endpoint.consumer_priority,
            exclusive: endpoint.exclusive_consumer,
            stream_offset: endpoint.stream_offset,
        };
        let once = endpoint.guarantee == Guarantee::AtMostOnce;
        let partition_keys = if once {
            Vec::new()
        } else {
            policy.partition_keys.clone()
        };
        let control = Control::new(
            &endpoint.name,
            limits,
            lane_count(),
            !partition_keys.is_empty(),
        )
        .paced(policy.rate_limit);
        if policy.starts_paused {
            control.pause(Pause::endless(None));
        }
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
            control: Arc::new(control),
        });
        let max_deliveries = policy.max_deliveries.unwrap_or(DEFAULT_MAX_DELIVERIES);
        let dead_lettering = policy.dead_lettering();
        let receiver = Receiver {
            crash_guard: CrashGuard::new(max_deliveries),
            endpoint: context,
            redeliveries: match endpoint.guarantee {
                Guarantee::AtLeastOnce => policy.redeliveries.clone(),
                Guarantee::AtMostOnce => Vec::new(),
            },
            switch: policy.kill_switch.clone().map(Switch::new),
            chain: chain(policy, endpoint.guarantee, &endpoint.registrations),
            consumers: Consumers::new(&endpoint.registrations),
            topology,
            guarantee: endpoint.guarantee,
            partition_keys,
            dead_lettering,
        };
        EndpointRunner::new(Arc::new(receiver), Arc::clone(&self.transport), spec)
    }
}

impl Inner {
    /// Starts to consume.
    async fn consume(&self) -> Result<(), StartError> {
        for runner in &self.runners {
            obey(runner);
            let started = runner.start().await;
            started.map_err(|source| StartError::Endpoint {
                endpoint: runner.name().to_owned(),
                source,
            })?;
        }
        Ok(())
    }

    /// Stops what a start has begun that failed.
    async fn abandon_start(&self) {
        self.stop.begin();
        if let Err(late) = self.end_work().await {
            tracing::warn!(%late, "a start that failed had to cut off what it had begun");
        }
    }
}

/// State that all endpoints of a bus share.
#[derive(Clone)]
struct Shared {
    outbound: Arc<Outbound>,
    requests: Arc<Requests>,
    cancelled: watch::Receiver<bool>,
}

/// Builds the middleware chain, in an order independent of the order of calls.
fn chain(policy: Policy, guarantee: Guarantee, consumers: &[Registration]) -> Chain {
    let once = guarantee == Guarantee::AtMostOnce;
    let outbox = policy.outbox.unwrap_or(true);
    let idempotency = policy.deduplicates().filter(|_| !once).cloned();
    let mut chain = policy.middleware;
    let keep_replies = idempotency.is_some();
    if let Some(idempotency) = &idempotency {
        chain.push(Arc::new(IdempotencyStep::new(idempotency.clone())));
    }
    let mut units = consumers.iter().filter_map(Registration::unit_of_work);
    if outbox || units.next().is_some() {
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
