//! Delayed delivery, without a plugin of the broker.
//!
//! RabbitMQ has no delay of its own that every version offers, so a message waits in the queues of
//! a [ladder]. They are declared with the first delayed message: a process that delays nothing
//! makes none of them. [`Delays`] turns a message with an instant into one that enters the ladder.
//!
//! ```text
//!  deliver_at ──► check ──► bind the destination ──► entry of the ladder ──► publisher
//!                   │ Unsupported      │ unless that was done a moment ago
//!                   ▼                  ▼
//!                 sender            the broker: queue or exchange ◄── deliver
//! ```
//!
//! # Invariants
//!
//! - Nothing enters the ladder before its destination is bound to the end of it.
//! - The wait is computed last, so that what came before it makes no message late.
//! - A message keeps its id, its headers and its body; its route is in two private headers, from
//!   which the receiver gets it back.

mod ladder;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus_core::topology::{ExchangeKind, Topology};
use bus_core::transport::{Outgoing, Target, TransportError, TransportErrorKind};
use tokio::time::{Instant, timeout_at};

use crate::config::Config;
use crate::connection::{Link, Live};
use crate::convert::{DELAYED_EXCHANGE, DELAYED_KEY};
use crate::topology::{self, KnownQueues};
use ladder::{Destination, LEVELS, LONGEST, Ladder};

/// Number of destinations above which those without a message now are forgotten.
const MANY: usize = 1000;

/// Delayed messages of one transport.
pub(crate) struct Delays {
    ladder: Ladder,
    queues: KnownQueues,
    bound: Mutex<HashMap<Destination, Arc<Bound>>>,
}

/// Time at which a destination was bound to the end of the ladder.
///
/// Locked while it is bound, so that its messages keep their order, and hold up no others.
type Bound = tokio::sync::Mutex<Option<Instant>>;

impl Delays {
    pub(crate) fn new(prefix: &str, queues: KnownQueues) -> Self {
        Self {
            ladder: Ladder::new(prefix),
            queues,
            bound: Mutex::default(),
        }
    }

    /// Makes the message that enters the ladder, whose end its destination is bound to.
    ///
    /// A message without an instant is returned as it came. A destination is bound again after a
    /// while, as nothing reports that an operator deleted it.
    ///
    /// # Errors
    /// Those of [`check`], of a declaration, and of a deadline that is over first.
    pub(crate) async fn enter(
        &self,
        outgoing: Outgoing,
        link: &Link,
        config: &Config,
    ) -> Result<Outgoing, TransportError> {
        let Some(due) = outgoing.deliver_at else {
            return Ok(outgoing);
        };
        let destination = check(&outgoing)?;
        let bound = self.bind(&destination, &outgoing.target, link, config);
        match outgoing.deadline {
            None => bound.await?,
            Some(deadline) => timeout_at(deadline, bound).await.unwrap_or_else(|_| {
                let name = outgoing.target.name();
                let text = format!("the broker did not declare the delay of a message to `{name}` in time; nothing was sent");
                Err(TransportError::new(TransportErrorKind::Unreachable, text))
            })?,
        }
        let wait = due.saturating_duration_since(Instant::now());
        // One that is due by now takes the shortest way, and so the order of those like it.
        let seconds = wait.as_nanos().div_ceil(1_000_000_000).max(1);
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
        Ok(self.entering(outgoing, seconds, &destination))
    }

    fn entering(&self, outgoing: Outgoing, seconds: u64, destination: &Destination) -> Outgoing {
        let (target, key) = self.ladder.entry(seconds, destination);
        let Outgoing {
            target: meant,
            routing_key,
            mut headers,
            ..
        } = outgoing;
        headers.insert(DELAYED_EXCHANGE, meant.name());
        headers.insert(DELAYED_KEY, routing_key.into_owned());
        Outgoing {
            target,
            routing_key: key.into(),
            headers,
            deliver_at: None,
            // It would end the wait, and the message with it.
            ttl: None,
            mandatory: true,
            ..outgoing
        }
    }

    async fn bind(
        &self,
        destination: &Destination,
        target: &Target,
        link: &Link,
        config: &Config,
    ) -> Result<(), TransportError> {
        let bound = self.bound_of(destination);
        let mut since = bound.lock().await;
        if since.is_some_and(|since| since.elapsed() < config.rebind) {
            return Ok(());
        }
        let mut backoff = config.backoff();
        loop {
            let live = link.up().await?;
            match live.ask(self.declare(&live, destination, target)).await {
                Err(error) if error.kind().is_transient() => {
                    tracing::debug!(%error, "the destination of a delayed message cannot be declared yet");
                }
                Err(error) => return Err(error),
                Ok(()) => break,
            }
            backoff.wait().await;
        }
        *since = Some(Instant::now());
        Ok(())
    }

    fn bound_of(&self, destination: &Destination) -> Arc<Bound> {
        let mut all = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bound) = all.get(destination) {
            return Arc::clone(bound);
        }
        if all.len() >= MANY {
            // Those that nothing is sent to now; a later message binds them again.
            all.retain(|_, bound| Arc::strong_count(bound) > 1);
        }
        Arc::clone(all.entry(destination.clone()).or_default())
    }

    async fn declare(
        &self,
        live: &Live,
        destination: &Destination,
        target: &Target,
    ) -> Result<(), TransportError> {
        match target {
            Target::Exchange {
                topology: Some(own),
                ..
            } => topology::declare(live, own).await?,
            Target::Queue(name) => self.queues.ensure(live, name).await?,
            Target::Exchange { topology: None, .. } | Target::Inbox(_) => {}
        }
        let exit = Topology {
            bindings: vec![self.ladder.exit(destination)],
            ..Topology::default()
        };
        match topology::declare(live, &exit).await {
            // The ladder is declared with the first message that waits, so perhaps not yet.
            Err(error) if error.kind() == TransportErrorKind::Unroutable => {
                topology::declare(live, self.ladder.topology()).await?;
                topology::declare(live, &exit).await
            }
            outcome => outcome,
        }
    }
}

/// Returns the destination of a message; refuses one that cannot be delayed.
///
/// At the end of the ladder a message has another routing key, so that an exchange that reads it
/// cannot route the message.
pub(crate) fn check(outgoing: &Outgoing) -> Result<Destination, TransportError> {
    let refuse = |why: &str| {
        let name = outgoing.target.name();
        let text = format!("the message to `{name}` cannot be delayed by RabbitMQ: {why}");
        Err(TransportError::new(TransportErrorKind::Unsupported, text))
    };
    let name = outgoing.target.name().to_owned();
    if name.split('.').any(|word| word == "*" || word == "#") {
        return refuse("a word of the name is a wildcard");
    }
    let wait = outgoing.deliver_at.map_or(Duration::ZERO, |due| {
        due.saturating_duration_since(Instant::now())
    });
    if wait > LONGEST {
        return refuse("the wait is longer than 268,435,455 seconds");
    }
    let destination = match &outgoing.target {
        Target::Queue(_) | Target::Inbox(_) => Destination::Queue(name),
        Target::Exchange { topology, .. } => {
            if reads_keys(&name, topology.as_ref()) {
                return refuse("its exchange routes by key; a store in SQL delays such messages");
            }
            if topology.is_none() && !outgoing.routing_key.is_empty() {
                return refuse("its routing key would be lost");
            }
            Destination::Exchange(name)
        }
    };
    let length = 2 * LEVELS as usize + destination.key().len();
    if length > 255 {
        return refuse("its name is longer than 197 bytes");
    }
    Ok(destination)
}

fn reads_keys(name: &str, topology: Option<&Arc<Topology>>) -> bool {
    let exchanges = topology.iter().flat_map(|topology| &topology.exchanges);
    let mut own = exchanges.filter(|exchange| exchange.name == name);
    own.any(|exchange| matches!(exchange.kind, ExchangeKind::Direct | ExchangeKind::Topic))
}
