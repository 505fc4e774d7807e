//! Bus under test: a record of its events, and the end of its work.

mod in_flight;
mod journal;
mod record;
mod records;
mod watch;
mod working;

use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use bus_core::error::StopTimeout;
use bus_core::message::Intent;
use bus_core::send::Sending;
use bus_core::transport::InvalidAddress;
use bus_core::{Address, Bus, BusBuilder, Fault, Message, Policy, StartError};

use fastrand::Rng;

pub use in_flight::{InFlight, NotQuiescent};
pub use journal::Recorder;
pub use record::Record;
pub use records::{NotSeen, Records};

use crate::InMemory;
use journal::Happening;
use watch::Watch;

/// Default time after which waiting work counts as stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bus on a broker of its own, with a record of its events, for tests.
///
/// The harness knows when everything is done. A service under test is built as in production, on
/// the harness's builder. Time is tokio's: with `#[tokio::test(start_paused = true)]` waits for
/// retries, delays and time-outs cost nothing. A message that no consumer wanted, or that failed,
/// is in its queue: `harness.transport().waiting("payments_skipped")`, or `…_error`.
///
/// ```
/// use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message};
/// use bus_inmemory::Harness;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Message)]
/// # #[message("Invoicing:InvoiceCreated")]
/// # struct InvoiceCreated { number: String }
/// # #[derive(Serialize, Deserialize, Message)]
/// # #[message("Payments:PaymentRequested")]
/// # struct PaymentRequested { number: String }
/// async fn request_payment(ctx: ConsumeContext<InvoiceCreated>) -> ConsumeResult {
///     let number = ctx.message().number.clone();
///     Ok(ctx.publish(&PaymentRequested { number }).await?)
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let harness = Harness::start(|bus| {
///     bus.endpoint(Endpoint::new("payments").consumer(request_payment))
/// })
/// .await?;
///
/// harness.publish(&InvoiceCreated { number: "A-7".into() }).await?;
/// harness.quiescent().await;
///
/// assert_eq!(harness.published::<PaymentRequested>().count(), 1);
/// assert!(harness.faulted::<InvoiceCreated>().none());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Harness {
    bus: Bus,
    transport: InMemory,
    watch: Watch,
}

impl Harness {
    /// Starts a bus on a new broker.
    ///
    /// `configure` gets the builder on the in-memory transport, as production code gets it on its
    /// own, and returns it.
    ///
    /// # Errors
    /// The errors of [`BusBuilder::start`].
    pub async fn start(
        configure: impl FnOnce(BusBuilder) -> BusBuilder,
    ) -> Result<Self, StartError> {
        Self::start_on(InMemory::new(), configure).await
    }

    /// Starts a bus on a broker that exists already.
    ///
    /// Earlier events are not recorded, nor those of other buses; [`start_bus`](Self::start_bus)
    /// adds buses that are recorded.
    ///
    /// # Errors
    /// The errors of [`BusBuilder::start`].
    pub async fn start_on(
        transport: InMemory,
        configure: impl FnOnce(BusBuilder) -> BusBuilder,
    ) -> Result<Self, StartError> {
        let watch = Watch::new(transport.broker(), Recorder::default(), PATIENCE);
        let bus = start(&transport, &watch, configure).await?;
        Ok(Self {
            bus,
            transport,
            watch,
        })
    }

    /// Starts another bus on the same broker, recorded here too.
    ///
    /// It stands for another service, or another instance. [`shutdown`](Self::shutdown) does not
    /// stop it.
    ///
    /// # Errors
    /// The errors of [`BusBuilder::start`].
    pub async fn start_bus(
        &self,
        configure: impl FnOnce(BusBuilder) -> BusBuilder,
    ) -> Result<Bus, StartError> {
        start(&self.transport, &self.watch, configure).await
    }

    /// Sets the time after which waiting work counts as stuck. Default: 30 s.
    ///
    /// It runs on tokio's clock. A test of retries over hours, with time paused, needs hours.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.watch.timeout = timeout;
        self
    }

    /// Delivers every message twice from now on: once more after it was acknowledged.
    ///
    /// Any message may come twice in production, after a crash or a lost connection. A test that
    /// passes with this too has shown that its consumers are idempotent. The second delivery has
    /// the same message id and is marked as redelivered, on at-most-once endpoints too.
    /// Every recorded delivery counts; [`Records::distinct`] lets one of each message count.
    ///
    /// Default: once.
    ///
    /// ```
    /// use bus_core::idempotency::MemoryIdempotencyStore;
    /// # use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message};
    /// # use bus_inmemory::Harness;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize, Message)]
    /// # #[message("Invoicing:CreateInvoice")]
    /// # struct CreateInvoice { number: String }
    /// # #[derive(Serialize, Deserialize, Message)]
    /// # #[message("Invoicing:InvoiceCreated")]
    /// # struct InvoiceCreated { number: String }
    /// async fn create(ctx: ConsumeContext<CreateInvoice>) -> ConsumeResult {
    ///     let number = ctx.message().number.clone();
    ///     Ok(ctx.publish(&InvoiceCreated { number }).await?)
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let invoicing = Endpoint::new("invoicing")
    ///     .idempotency(MemoryIdempotencyStore::new())
    ///     .consumer(create);
    /// let harness = Harness::start(|bus| bus.endpoint(invoicing)).await?.deliver_twice();
    /// harness.send_to("queue:invoicing", &CreateInvoice { number: "A-7".into() }).await?;
    /// harness.quiescent().await;
    ///
    /// assert_eq!(harness.consumed::<CreateInvoice>().count(), 2);
    /// assert_eq!(harness.published::<InvoiceCreated>().count(), 1);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn deliver_twice(self) -> Self {
        let broker = self.transport.broker();
        broker.with(|state| state.disorder.repeats = true);
        self
    }

    /// Changes the order of messages from now on, by holding each for up to 10 ms.
    ///
    /// A message then overtakes those that reach its queue at about the same time, also one that
    /// caused it. A test that passes with several seeds depends on no order. One seed gives one
    /// order, if the clock is paused and the runtime has one thread. Held messages are in flight. A
    /// queue with a maximal length keeps its order.
    ///
    /// Default: the order of the queue.
    ///
    /// ```
    /// # use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message};
    /// # use bus_inmemory::Harness;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize, Message)]
    /// # #[message("Invoicing:InvoiceCreated")]
    /// # struct InvoiceCreated { number: u32 }
    /// # async fn pay(_: ConsumeContext<InvoiceCreated>) -> ConsumeResult { Ok(()) }
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let payments = Endpoint::new("payments").concurrency(1).consumer(pay);
    /// let harness = Harness::start(|bus| bus.endpoint(payments)).await?.shuffle(7);
    /// for number in 0..10 {
    ///     harness.publish(&InvoiceCreated { number }).await?;
    /// }
    /// harness.quiescent().await;
    ///
    /// let consumed = harness.consumed::<InvoiceCreated>().all();
    /// let order: Vec<_> = consumed.iter().map(|record| record.message().number).collect();
    /// assert_ne!(order, Vec::from_iter(0..10));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn shuffle(self, seed: u64) -> Self {
        let random = Some(Rng::with_seed(seed));
        let broker = self.transport.broker();
        broker.with(|state| state.disorder.random = random);
        self
    }

    /// Publishes an event as [`Bus::publish`] does.
    pub fn publish<E: Message>(&self, event: &E) -> Sending {
        self.bus.publish(event)
    }

    /// Sends a command to an address as [`Bus::send_to`] does.
    pub fn send_to<C: Message, A: TryInto<Address, Error: Into<InvalidAddress>>>(
        &self,
        address: A,
        command: &C,
    ) -> Sending {
        self.bus.send_to(address, command)
    }

    /// Bus that [`start`](Self::start) started.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Opens another connection to the broker, for a bus or a test that needs it.
    pub fn transport(&self) -> InMemory {
        self.transport.clone()
    }

    /// Recorder for [`BusBuilder::observe`] of a bus that the harness did not start.
    pub fn observer(&self) -> Recorder {
        self.watch.journal.clone()
    }

    /// Waits until nothing is in flight.
    ///
    /// Every message that reached a queue with a consumer is then handled, and so is everything
    /// that this caused. The events are recorded by then; "nothing else happened" needs no further
    /// wait.
    ///
    /// Not in flight are messages in queues without consumers, [delayed](Self::delayed) ones, and
    /// messages that tasks of the test itself have not sent yet. One blind spot: of an endpoint
    /// that is `at_most_once`, on a runtime of several threads, the moments between
    /// acknowledgement, consumer and record are not counted.
    ///
    /// # Panics
    /// With a list of what is in flight, if that takes longer than the [timeout](Self::timeout).
    #[track_caller]
    pub fn quiescent(&self) -> impl Future<Output = ()> + Send + '_ {
        let caller = Location::caller();
        async move {
            if let Err(busy) = self.watch.quiescent().await {
                panic!("{busy}\nawaited at {caller}");
            }
        }
    }

    /// Waits as [`quiescent`](Self::quiescent) does, for tests that handle the error.
    ///
    /// # Errors
    /// [`NotQuiescent`] lists what is in flight after the [timeout](Self::timeout).
    pub async fn try_quiescent(&self) -> Result<(), NotQuiescent> {
        self.watch.quiescent().await
    }

    /// Deliveries that are in flight now.
    pub fn in_flight(&self) -> Vec<InFlight> {
        self.watch.in_flight()
    }

    /// Number of messages on the broker that wait for the end of their delay.
    ///
    /// Sleeping until then, with paused time, delivers them.
    pub fn delayed(&self) -> usize {
        self.transport.delayed()
    }

    /// Events of type `M` that were published, or of a type that implements `M`.
    pub fn published<M: Message>(&self) -> Records<M> {
        self.records(Happening::Sent(Intent::Publish))
    }

    /// Commands and requests of type `M` that were sent to an address.
    pub fn sent<M: Message>(&self) -> Records<M> {
        self.records(Happening::Sent(Intent::Send))
    }

    /// Responses of type `M`.
    pub fn responded<M: Message>(&self) -> Records<M> {
        self.records(Happening::Sent(Intent::Respond))
    }

    /// Fault messages about messages of type `M` that were published or sent.
    pub fn faults<M: Message>(&self) -> Records<Fault<M>> {
        self.records(Happening::Sent(Intent::Fault))
    }

    /// Deliveries of type `M` that consumers handled, one for each endpoint.
    pub fn consumed<M: Message>(&self) -> Records<M> {
        self.records(Happening::Consumed)
    }

    /// Deliveries of type `M` that failed for good.
    pub fn faulted<M: Message>(&self) -> Records<M> {
        self.records(Happening::Faulted)
    }

    /// Stops the bus that [`start`](Self::start) started.
    ///
    /// # Errors
    /// The errors of [`Bus::shutdown`].
    pub async fn shutdown(&self) -> Result<(), StopTimeout> {
        self.bus.shutdown().await
    }

    fn records<M: Message>(&self, happening: Happening) -> Records<M> {
        Records::new(self.watch.clone(), happening)
    }
}

async fn start(
    transport: &InMemory,
    watch: &Watch,
    configure: impl FnOnce(BusBuilder) -> BusBuilder,
) -> Result<Bus, StartError> {
    let builder = Bus::builder(transport.clone())
        .observe(watch.journal.clone())
        .policy(Policy::new().middleware(working::Working::new(Arc::clone(&watch.workers))));
    configure(builder).start().await
}
