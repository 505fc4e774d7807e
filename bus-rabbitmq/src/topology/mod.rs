//! Exchanges, queues and bindings: the only place that names them to the broker.
//!
//! AMQP declares by assertion: `exchange.declare` and `queue.declare` create what is missing,
//! succeed for what is there with the same settings, and close the channel for what is there with
//! others (406, `PRECONDITION_FAILED`). So everything here may be called again at any time, and
//! each call uses a channel of its own.
//!
//! | presence | missing | same settings | other settings |
//! |---|---|---|---|
//! | `Declare` | created | used | error `Mismatch` |
//! | `IfMissing` | created | used | used as it is |
//! | `Existing` | error `Unroutable` | used | used as it is |
//!
//! Nothing from the wire is declared: callers pass what the program itself described.

mod arguments;
mod declarer;
mod known_queues;

use bus_core::topology::{Binding, Exchange, Node, Presence, Queue, Topology};
use bus_core::transport::TransportError;

use crate::connection::Live;
use crate::error::is_refused;

pub(crate) use declarer::Declarer;
pub(crate) use known_queues::KnownQueues;

/// Declares everything, in order, on a channel of its own.
///
/// Exchanges come before queues, and bindings last, as each needs what it names. The channel is
/// thrown away: one refusal closes it, and nothing else may suffer. What was declared before a
/// refusal stays.
pub(crate) async fn declare(live: &Live, topology: &Topology) -> Result<(), TransportError> {
    let mut declarer = Declarer::new(live);
    declarer.declare(topology).await?;
    declarer.close().await;
    Ok(())
}

/// Ensures that the queue and the exchange for a sender to `queue:name` exist.
///
/// An existing entity stays as it is, with any arguments; a missing one becomes durable and
/// classic, as MassTransit makes it.
pub(crate) async fn ensure_queue(live: &Live, name: &str) -> Result<(), TransportError> {
    let mut declarer = Declarer::new(live);
    let exchange = Exchange {
        presence: Presence::IfMissing,
        ..Exchange::fanout(name)
    };
    let queue = Queue {
        presence: Presence::IfMissing,
        ..Queue::classic(name)
    };
    declarer.exchange(&exchange).await?;
    declarer.queue(&queue).await?;
    // Bound again also where both are there: a broker that crashed may have lost a young binding.
    let binding = Binding::new(name, Node::Queue(name.to_owned()));
    match declarer.bind(&binding).await {
        // A queue of another service, which has bound it.
        Err(error) if is_refused(&error) => {
            tracing::debug!(queue = name, %error, "the queue is used as it is");
        }
        outcome => outcome?,
    }
    declarer.close().await;
    Ok(())
}

/// Returns whether a queue exists, by a passive `queue.declare`.
///
/// A queue that another connection owns exists.
pub(crate) async fn queue_exists(live: &Live, name: &str) -> Result<bool, TransportError> {
    let mut declarer = Declarer::new(live);
    let exists = declarer.finds_queue(&Queue::classic(name)).await?;
    declarer.close().await;
    Ok(exists)
}

/// Returns whether an exchange exists, by a passive `exchange.declare`.
pub(crate) async fn exchange_exists(live: &Live, name: &str) -> Result<bool, TransportError> {
    let mut declarer = Declarer::new(live);
    let exists = declarer.finds_exchange(&Exchange::fanout(name)).await?;
    declarer.close().await;
    Ok(exists)
}
