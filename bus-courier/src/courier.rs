//! Start of routing slips.

use bus_core::SendError;

use crate::contracts::RoutingSlip;
use crate::publisher::Publisher;
use crate::sends::Sends;

/// Executes routing slips.
///
/// On a [`Bus`](bus_core::Bus), a [`Sender`](bus_core::send::Sender), or a
/// [`ConsumeContext`](bus_core::ConsumeContext).
///
/// ```
/// use bus_core::Bus;
/// use bus_courier::{Courier, RoutingSlip};
/// use bus_inmemory::InMemory;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = InMemory::new();
/// let bus = Bus::builder(broker.clone()).start().await?;
/// let slip = RoutingSlip::builder().activity("Charge", "queue:charge_execute", &()).build()?;
/// bus.execute(&slip).await?;
/// assert_eq!(broker.waiting("charge_execute"), Some(1));
/// # bus.shutdown().await?;
/// # Ok(()) }
/// ```
pub trait Courier: Sends {
    /// Sends a routing slip to its first activity.
    ///
    /// `Ok` means that the broker owns the slip, or, inside a consumer, that the outbox holds it. A
    /// slip without activities is completed: its events are sent.
    ///
    /// # Errors
    /// The [`SendError`] of the slip or its events.
    fn execute(&self, slip: &RoutingSlip) -> impl Future<Output = Result<(), SendError>> + Send {
        async move {
            if let Some(first) = slip.itinerary.first() {
                return self.to(&first.address, slip).await;
            }
            let completed = Publisher::of_slip(self, slip).completed(slip).await;
            completed.map_err(|(_, error)| error)
        }
    }
}

impl<S: Sends> Courier for S {}
