//! Flow control of an endpoint: its rate limit and its kill switch.

use super::policy::Policy;
use crate::flow::{KillSwitch, RateLimit};

impl Policy {
    /// Sets the rate at which an endpoint takes messages.
    ///
    /// Default: no limit. A message for which it is too early is not pulled: it holds no
    /// concurrency slot, and is handled in its turn. Those that were handed out ahead wait in the
    /// process, up to the [`prefetch`](Self::prefetch); the others wait in the queue, where other
    /// instances may take them. Failed messages count as those that succeed; retries in place do
    /// not count. The limit is that of one endpoint in one process.
    /// [`EndpointControl::set_rate_limit`](crate::consume::EndpointControl::set_rate_limit) changes
    /// it.
    ///
    /// ```
    /// use bus_core::{Endpoint, Policy, RateLimit};
    ///
    /// let polite = Policy::new().rate_limit(RateLimit::per_second(50));
    /// let invoices = Endpoint::new("invoices").policy(polite);
    /// # let _ = invoices;
    /// ```
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.rate_limit = Some(limit);
        self
    }

    /// Pauses an endpoint when too many of its messages fail, and tries again later.
    ///
    /// Default: it is never paused by itself. One of the bus is for each endpoint by itself.
    ///
    /// ```
    /// use bus_core::{Bus, KillSwitch, Policy};
    /// # use bus_inmemory::InMemory;
    ///
    /// let careful = Policy::new().kill_switch(KillSwitch::new());
    /// let bus = Bus::builder(InMemory::new()).policy(careful);
    /// # let _ = bus;
    /// ```
    pub fn kill_switch(mut self, switch: KillSwitch) -> Self {
        self.kill_switch = Some(switch);
        self
    }
}
