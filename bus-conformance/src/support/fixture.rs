//! The set-up that most behaviours share.

use bus_core::transport::Incoming;
use bus_core::{Address, Bus, ConsumeContext, Endpoint, Message, SendError};

use super::contracts::{Numbered, Place};
use super::{Outcome, Reader, Recorder, Wire};
use crate::test_broker::TestBroker;

/// One endpoint under test, a raw connection, and a reader of its error queue.
pub(crate) struct Fixture<M> {
    pub(crate) bus: Bus,
    pub(crate) wire: Wire,
    pub(crate) queue: String,
    pub(crate) errors: Reader,
    pub(crate) seen: Recorder<M>,
}

impl<M: Message> Fixture<M> {
    /// Starts a serial endpoint with one consumer, and with what `set` adds.
    pub(crate) async fn start(
        broker: &dyn TestBroker,
        seen: Recorder<M>,
        set: impl FnOnce(Endpoint) -> Endpoint,
    ) -> Outcome<Self> {
        let queue = broker.name("fixture");
        let endpoint = serial(&queue).consumer(seen.clone());
        let bus = broker.start(set(endpoint)).await?;
        let wire = broker.wire().await;
        let errors = wire.read(&format!("{queue}_error")).await;
        Ok(Self {
            bus,
            wire,
            queue,
            errors,
            seen,
        })
    }

    /// Starts an endpoint that gets only what is sent to its queue.
    pub(crate) async fn reading(broker: &dyn TestBroker) -> Outcome<Self> {
        Self::start(broker, Recorder::new(), Endpoint::without_subscriptions).await
    }

    /// Starts an endpoint whose consumer fails.
    pub(crate) async fn failing(broker: &dyn TestBroker) -> Outcome<Self> {
        Self::start(broker, Recorder::failing(), |endpoint| endpoint).await
    }

    /// Returns the address of the endpoint.
    pub(crate) fn address(&self) -> Address {
        bus_core::queue(self.queue.clone())
    }

    /// Sends a message to the endpoint.
    pub(crate) async fn send(&self, message: &M) -> Result<(), SendError> {
        self.bus.send_to(self.address(), message).await
    }

    /// Stops the bus, and closes the raw connection.
    pub(crate) async fn stop(self) -> Outcome {
        self.bus.shutdown().await?;
        self.wire.close().await;
        Ok(())
    }
}

/// Describes an endpoint that handles its messages one by one, in order.
pub(crate) fn serial(queue: impl Into<String>) -> Endpoint {
    Endpoint::new(queue).concurrency(1)
}

/// Sends a command to a queue.
pub(crate) async fn place(bus: &Bus, queue: &str, number: u32) -> Result<(), SendError> {
    bus.send_to(bus_core::queue(queue.to_owned()), &Place { number })
        .await
}

/// Sends commands to a queue, in order.
pub(crate) async fn places(
    bus: &Bus,
    queue: &str,
    numbers: impl IntoIterator<Item = u32>,
) -> Result<(), SendError> {
    for number in numbers {
        place(bus, queue, number).await?;
    }
    Ok(())
}

/// Returns the numbers of recorded messages, in the order of the calls.
pub(crate) fn in_order<M: Numbered>(calls: &[ConsumeContext<M>]) -> Vec<u32> {
    calls.iter().map(|call| call.message().number()).collect()
}

/// Returns why a message is in the error queue.
pub(crate) fn reason(failed: &Incoming) -> &str {
    let reason = failed.headers.text("MT-Fault-Message");
    reason.unwrap_or_default()
}
