//! Routing slips, and itineraries, in the making.

use bus_core::Address;
use bus_core::transport::InvalidAddress;
use serde::Serialize;
use uuid::Uuid;

use crate::contracts::{ItineraryActivity, RoutingSlip, Subscription};
use crate::error::SlipError;
use crate::flags::{SlipContents, SlipEvents};
use crate::values::Values;

/// Activities to come, in order.
///
/// Part of a [`RoutingSlipBuilder`], and what an activity gives to
/// [`Executed::revise`](crate::Executed::revise).
#[derive(Debug, Default)]
#[must_use]
pub struct Itinerary {
    activities: Vec<ItineraryActivity>,
    mistake: Option<SlipError>,
}

impl Itinerary {
    /// Creates an itinerary without activities.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an activity: its name, the address of its endpoint, and its arguments.
    ///
    /// The arguments are a struct or a map; `()` is none. A queue of an address such as
    /// `queue:reserve_execute` that is missing is declared when the slip is sent there.
    pub fn activity(
        mut self,
        name: impl Into<String>,
        address: impl Into<String>,
        arguments: &(impl Serialize + ?Sized),
    ) -> Self {
        let (name, address) = (name.into(), address.into());
        let checked = check(&name, &address).and_then(|()| {
            Values::of(arguments).map_err(|source| SlipError::WriteArguments {
                name: name.clone(),
                source,
            })
        });
        match checked {
            Ok(arguments) => {
                let activity = ItineraryActivity::new(name, address, arguments);
                self.activities.push(activity);
            }
            Err(error) => _ = self.mistake.get_or_insert(error),
        }
        self
    }

    /// Adds activities of another itinerary, such as those that remain.
    pub fn then<'a>(mut self, activities: impl IntoIterator<Item = &'a ItineraryActivity>) -> Self {
        self.activities.extend(activities.into_iter().cloned());
        self
    }

    /// Returns the activities, or the first mistake.
    pub(crate) fn finish(self) -> Result<Vec<ItineraryActivity>, SlipError> {
        self.mistake.map_or(Ok(self.activities), Err)
    }
}

/// A routing slip in the making.
///
/// ```
/// use bus_courier::{RoutingSlip, SlipContents, SlipEvents};
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// #[serde(rename_all = "camelCase")]
/// struct Reserve { sku: String, quantity: u32 }
///
/// let slip = RoutingSlip::builder()
///     .activity("Reserve", "queue:reserve_execute", &Reserve { sku: "A-7".into(), quantity: 2 })
///     .activity("Charge", "queue:charge_execute", &())
///     .variable("OrderNumber", "A-1007")
///     .subscribe("queue:order-monitor", SlipEvents::COMPLETED | SlipEvents::FAULTED)
///     .build()?;
/// assert_eq!(slip.itinerary.len(), 2);
/// # Ok::<(), bus_courier::SlipError>(())
/// ```
#[derive(Debug)]
#[must_use = "a slip is made by .build()"]
pub struct RoutingSlipBuilder {
    slip: RoutingSlip,
    itinerary: Itinerary,
    mistake: Option<SlipError>,
}

impl RoutingSlip {
    /// Begins a routing slip with a fresh tracking number.
    pub fn builder() -> RoutingSlipBuilder {
        RoutingSlipBuilder {
            slip: Self::empty(Uuid::now_v7()),
            itinerary: Itinerary::new(),
            mistake: None,
        }
    }
}

impl RoutingSlipBuilder {
    /// Sets the tracking number, instead of a fresh one.
    pub fn tracking_number(mut self, id: Uuid) -> Self {
        self.slip.tracking_number = id;
        self
    }

    /// Adds an activity: see [`Itinerary::activity`].
    pub fn activity(
        mut self,
        name: impl Into<String>,
        address: impl Into<String>,
        arguments: &(impl Serialize + ?Sized),
    ) -> Self {
        self.itinerary = self.itinerary.activity(name, address, arguments);
        self
    }

    /// Sets a variable, which all activities see as an argument.
    pub fn variable(mut self, name: impl Into<String>, value: &(impl Serialize + ?Sized)) -> Self {
        let name = name.into();
        if let Err(source) = self.slip.variables.set(name.as_str(), value) {
            self.mistake
                .get_or_insert(SlipError::WriteVariable { name, source });
        }
        self
    }

    /// Lets events go to an address, with all that they may hold.
    ///
    /// Events are published only if there is no subscription, or each one is
    /// [`SUPPLEMENTAL`](SlipEvents::SUPPLEMENTAL) too.
    pub fn subscribe(self, address: impl Into<String>, events: SlipEvents) -> Self {
        self.subscribe_with(address, events, SlipContents::ALL)
    }

    /// Lets events go to an address, with these contents.
    pub fn subscribe_with(
        self,
        address: impl Into<String>,
        events: SlipEvents,
        include: SlipContents,
    ) -> Self {
        self.add(address.into(), events, include, None)
    }

    /// Lets events of the slip, and those of one activity, go to an address.
    pub fn subscribe_to(
        self,
        activity: impl Into<String>,
        address: impl Into<String>,
        events: SlipEvents,
    ) -> Self {
        let activity = Some(activity.into());
        self.add(address.into(), events, SlipContents::ALL, activity)
    }

    fn add(
        mut self,
        address: String,
        events: SlipEvents,
        include: SlipContents,
        activity_name: Option<String>,
    ) -> Self {
        if let Err(error) = check(&address, &address) {
            self.mistake.get_or_insert(error);
        }
        self.slip.subscriptions.push(Subscription {
            address,
            events,
            include,
            activity_name,
            message: None,
            other: Values::default(),
        });
        self
    }

    /// Makes the slip.
    ///
    /// # Errors
    /// The first mistake: an address that cannot be read, or a value that cannot be written.
    pub fn build(self) -> Result<RoutingSlip, SlipError> {
        let itinerary = self.itinerary.finish()?;
        let slip = RoutingSlip {
            itinerary,
            ..self.slip
        };
        self.mistake.map_or(Ok(slip), Err)
    }
}

fn check(name: &str, address: &str) -> Result<(), SlipError> {
    let read = Address::try_from(address);
    read.map(drop)
        .map_err(|source: InvalidAddress| SlipError::Address {
            name: name.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use bus_core::Message;

    use super::*;

    #[test]
    fn the_first_mistake_is_named() {
        let slip = RoutingSlip::builder()
            .activity("Reserve", "nowhere", &())
            .activity("Charge", "queue:charge", &7)
            .build();
        let error = slip.expect_err("an address without a scheme");
        let text = "the address of `Reserve` in the routing slip cannot be read";
        assert_eq!(error.to_string(), text);
        let slip = RoutingSlip::builder().activity("Charge", "queue:charge", &7);
        let error = slip.build().expect_err("a number is no object");
        assert_eq!(
            error.to_string(),
            "the arguments of `Charge` are no JSON object"
        );
    }

    #[test]
    fn the_tracking_number_is_the_correlation_id() {
        let slip = RoutingSlip::builder().tracking_number(Uuid::from_u128(7));
        let slip = slip.build().expect("a slip");
        assert_eq!(slip.correlation_id(), Some(Uuid::from_u128(7)));
    }
}
