//! Consumers of several messages on one instance.

use std::fmt;
use std::sync::Arc;

use super::consumer::{Consumer, Registration};
use crate::message::Message;

/// Consumer of several messages: one instance, with a method for each of them.
///
/// Put [`#[consumers]`](crate::consume::consumers) on an `impl` block instead of implementing it.
/// An `Arc` of one is one too, so that a test can keep the instance.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use bus_core::consume::consumers;
/// use bus_core::{ConsumeContext, ConsumeResult, Endpoint};
/// use bus_inmemory::Harness;
/// # use bus_core::Message;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Message)] #[message("Shop:OrderPaid")] struct OrderPaid {}
/// # #[derive(Serialize, Deserialize, Message)] #[message("Shop:OrderShipped")] struct OrderShipped {}
///
/// #[derive(Default)]
/// struct Statistics { paid: AtomicU32, shipped: AtomicU32 }
///
/// #[consumers]
/// impl Statistics {
///     async fn paid(&self, _: ConsumeContext<OrderPaid>) -> ConsumeResult {
///         self.paid.fetch_add(1, Relaxed);
///         Ok(())
///     }
///
///     async fn shipped(&self, _: ConsumeContext<OrderShipped>) -> ConsumeResult {
///         self.shipped.fetch_add(1, Relaxed);
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let statistics = Arc::new(Statistics::default());
/// let endpoint = Endpoint::new("statistics").consumers(Arc::clone(&statistics));
/// let harness = Harness::start(|bus| bus.endpoint(endpoint)).await?;
/// harness.publish(&OrderPaid {}).await?;
/// harness.publish(&OrderShipped {}).await?;
/// harness.quiescent().await;
/// assert_eq!((statistics.paid.load(Relaxed), statistics.shipped.load(Relaxed)), (1, 1));
/// # harness.shutdown().await?;
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no consumers of several messages",
    label = "not consumers",
    note = "put `#[consumers]` on the `impl` block whose async methods take a `ConsumeContext<Message>` each",
    note = "a consumer of one message is added with `.consumer(…)`"
)]
pub trait Consumers: Send + Sync + 'static {
    /// Adds the instance to `set` as the consumer of each of its messages.
    fn add_to(self: Arc<Self>, set: &mut ConsumerSet);
}

#[diagnostic::do_not_recommend]
impl<C: Consumers> Consumers for Arc<C> {
    fn add_to(self: Arc<Self>, set: &mut ConsumerSet) {
        C::add_to(Arc::clone(&*self), set);
    }
}

/// Consumers for one endpoint, to which [`Consumers`] adds its own.
#[derive(Default)]
pub struct ConsumerSet {
    pub(crate) registrations: Vec<Registration>,
}

impl ConsumerSet {
    /// Adds a consumer of `M`.
    pub fn add<M: Message>(&mut self, consumer: impl Consumer<M>) {
        self.registrations.push(Registration::of::<M, _>(consumer));
    }
}

impl fmt::Debug for ConsumerSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.registrations).finish()
    }
}
