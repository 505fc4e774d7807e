//! Endpoints of activities.

use bus_core::{Consumer, Endpoint};

use crate::contracts::RoutingSlip;

/// Adds an activity to an [`Endpoint`].
///
/// Each activity has an endpoint of its own, and its compensation another one. Retries,
/// redeliveries, time limits and idempotency are those of the endpoint.
///
/// ```
/// use std::time::Duration;
/// use bus_core::{ConsumeResult, Endpoint, Retry};
/// use bus_courier::{ActivityEndpoint, Execute, ExecuteActivity, Executed, NoLog, execute};
///
/// struct Charge;
///
/// impl ExecuteActivity for Charge {
///     type Arguments = ();
///     type Log = NoLog;
///
///     async fn execute(&self, _: Execute<()>) -> ConsumeResult<Executed<NoLog>> {
///         Ok(Executed::done())
///     }
/// }
///
/// let endpoint = Endpoint::new("charge_execute")
///     .retry(Retry::interval(3, Duration::from_secs(1)))
///     .activity(execute(Charge));
/// # let _ = endpoint;
/// ```
pub trait ActivityEndpoint {
    /// Adds the consumer of an activity or of a compensation.
    ///
    /// It gets only slips that are sent to the endpoint. It is made by [`execute`](crate::execute),
    /// [`execute_compensated`](crate::execute_compensated) or [`compensate`](crate::compensate), or
    /// is such a consumer inside of another one, as `bus-sql` makes it.
    #[must_use = "add it to a bus with .endpoint(…)"]
    fn activity(self, host: impl Consumer<RoutingSlip>) -> Self;
}

impl ActivityEndpoint for Endpoint {
    fn activity(self, host: impl Consumer<RoutingSlip>) -> Self {
        self.consumer(host).without_subscription::<RoutingSlip>()
    }
}
