//! Events on their way: to the subscriptions of a slip, or published.

use std::time::SystemTime;

use bus_core::codec::HostInfo;
use bus_core::error::ExceptionInfo;
use bus_core::serde_helpers::{DateTime, TimeSpan};
use bus_core::{Message, SendError};

use crate::contracts::{ActivityException, ItineraryActivity, RoutingSlip, Subscription};
use crate::events::{
    RoutingSlipActivityCompensated, RoutingSlipActivityCompensationFailed,
    RoutingSlipActivityCompleted, RoutingSlipActivityFaulted, RoutingSlipCompensationFailed,
    RoutingSlipCompleted, RoutingSlipFaulted, RoutingSlipRevised, RoutingSlipTerminated,
};
use crate::execution::{Execution, span};
use crate::flags::{SlipContents, SlipEvents};
use crate::sends::Sends;
use crate::values::Values;

/// Error of an event, and the address or type that it was for.
pub(crate) type NotSent = (String, SendError);

/// Publisher of the events of one slip.
///
/// Each matching subscription gets its event. An event is published too if no subscription takes
/// its place: if all are supplemental, which is so if there is none.
pub(crate) struct Publisher<'a, S: ?Sized> {
    sends: &'a S,
    subscriptions: &'a [Subscription],
    /// Activity that does something now; `None` where the slip starts.
    activity: Option<&'a str>,
}

impl<'a, S: Sends + ?Sized> Publisher<'a, S> {
    /// Creates the publisher of a slip that starts.
    pub(crate) fn of_slip(sends: &'a S, slip: &'a RoutingSlip) -> Self {
        Self {
            sends,
            subscriptions: &slip.subscriptions,
            activity: None,
        }
    }

    /// Creates the publisher of a slip at an activity.
    pub(crate) fn at(sends: &'a S, slip: &'a RoutingSlip, execution: &'a Execution) -> Self {
        Self {
            activity: Some(&execution.name),
            ..Self::of_slip(sends, slip)
        }
    }

    async fn tell<E: Message>(
        &self,
        event: SlipEvents,
        make: impl Fn(SlipContents) -> E + Send + Sync,
    ) -> Result<(), NotSent> {
        for subscription in self.subscriptions {
            if subscription.events.asks_for(event) && self.concerns(subscription) {
                let address = &subscription.address;
                let sent = self.sends.to(address, &make(subscription.include)).await;
                sent.map_err(|error| (address.clone(), error))?;
            }
        }
        let supplemental =
            |subscription: &Subscription| subscription.events.contains(SlipEvents::SUPPLEMENTAL);
        if self.subscriptions.iter().all(supplemental) {
            let sent = self.sends.event(&make(SlipContents::ALL)).await;
            sent.map_err(|error| (E::message_type().qualified(), error))?;
        }
        Ok(())
    }

    fn concerns(&self, subscription: &Subscription) -> bool {
        let name = subscription.activity_name.as_deref().unwrap_or_default();
        self.activity
            .is_none_or(|activity| name.trim().is_empty() || name.eq_ignore_ascii_case(activity))
    }

    pub(crate) async fn completed(&self, slip: &RoutingSlip) -> Result<(), NotSent> {
        self.tell(SlipEvents::COMPLETED, |include| RoutingSlipCompleted {
            tracking_number: slip.tracking_number,
            timestamp: DateTime::now(),
            duration: age(slip),
            variables: part(include, SlipContents::VARIABLES, &slip.variables),
            other: Values::default(),
        })
        .await
    }

    pub(crate) async fn faulted(&self, slip: &RoutingSlip) -> Result<(), NotSent> {
        self.tell(SlipEvents::FAULTED, |include| RoutingSlipFaulted {
            tracking_number: slip.tracking_number,
            timestamp: DateTime::now(),
            duration: age(slip),
            activity_exceptions: slip.activity_exceptions.clone(),
            variables: part(include, SlipContents::VARIABLES, &slip.variables),
            other: Values::default(),
        })
        .await
    }

    pub(crate) async fn compensation_failed(
        &self,
        slip: &RoutingSlip,
        error: &ExceptionInfo,
    ) -> Result<(), NotSent> {
        let failed = |include| RoutingSlipCompensationFailed {
            tracking_number: slip.tracking_number,
            host: HostInfo::current().clone().into(),
            timestamp: DateTime::now(),
            duration: age(slip),
            exception_info: error.clone().into(),
            variables: part(include, SlipContents::VARIABLES, &slip.variables),
            other: Values::default(),
        };
        self.tell(SlipEvents::COMPENSATION_FAILED, failed).await
    }

    pub(crate) async fn terminated(
        &self,
        slip: &RoutingSlip,
        execution: &Execution,
        discarded: &[ItineraryActivity],
    ) -> Result<(), NotSent> {
        self.tell(SlipEvents::TERMINATED, |include| RoutingSlipTerminated {
            tracking_number: slip.tracking_number,
            activity_name: execution.name.clone(),
            execution_id: execution.id,
            host: HostInfo::current().clone().into(),
            timestamp: execution.timestamp,
            duration: execution.elapsed(),
            variables: part(include, SlipContents::VARIABLES, &slip.variables),
            discarded_itinerary: activities(include, discarded),
            other: Values::default(),
        })
        .await
    }

    pub(crate) async fn revised(
        &self,
        slip: &RoutingSlip,
        execution: &Execution,
        discarded: &[ItineraryActivity],
    ) -> Result<(), NotSent> {
        self.tell(SlipEvents::REVISED, |include| RoutingSlipRevised {
            tracking_number: slip.tracking_number,
            activity_name: execution.name.clone(),
            execution_id: execution.id,
            host: HostInfo::current().clone().into(),
            timestamp: execution.timestamp,
            duration: execution.elapsed(),
            variables: part(include, SlipContents::VARIABLES, &slip.variables),
            itinerary: activities(include, &slip.itinerary),
            discarded_itinerary: activities(include, discarded),
            other: Values::default(),
        })
        .await
    }

    pub(crate) async fn activity_completed(
        &self,
        slip: &RoutingSlip,
        execution: &Execution,
        arguments: &Values,
        data: &Values,
    ) -> Result<(), NotSent> {
        let completed = |include| RoutingSlipActivityCompleted {
            tracking_number: slip.tracking_number,
            execution_id: execution.id,
            timestamp: execution.timestamp,
            duration: execution.elapsed(),
            activity_name: execution.name.clone(),
            host: HostInfo::current().clone().into(),
            arguments: part(include, SlipContents::ARGUMENTS, arguments),
            data: part(include, SlipContents::DATA, data),
            variables: part(include, SlipContents::VARIABLES, &slip.variables),
            other: Values::default(),
        };
        self.tell(SlipEvents::ACTIVITY_COMPLETED, completed).await
    }

    pub(crate) async fn activity_faulted(
        &self,
        slip: &RoutingSlip,
        exception: &ActivityException,
        arguments: &Values,
    ) -> Result<(), NotSent> {
        let faulted = |include| RoutingSlipActivityFaulted {
            tracking_number: slip.tracking_number,
            execution_id: exception.execution_id,
            timestamp: exception.timestamp.unwrap_or_else(DateTime::now),
            duration: exception.elapsed,
            activity_name: exception.name.clone(),
            host: exception.host.clone(),
            exception_info: exception.exception_info.clone(),
            arguments: part(include, SlipContents::ARGUMENTS, arguments),
            variables: part(include, SlipContents::VARIABLES, &slip.variables),
            other: Values::default(),
        };
        self.tell(SlipEvents::ACTIVITY_FAULTED, faulted).await
    }

    pub(crate) async fn activity_compensated(
        &self,
        slip: &RoutingSlip,
        execution: &Execution,
        data: &Values,
    ) -> Result<(), NotSent> {
        let compensated = |include| RoutingSlipActivityCompensated {
            tracking_number: slip.tracking_number,
            execution_id: execution.id,
            timestamp: execution.timestamp,
            duration: execution.elapsed(),
            activity_name: execution.name.clone(),
            host: HostInfo::current().clone().into(),
            data: part(include, SlipContents::DATA, data),
            variables: part(include, SlipContents::VARIABLES, &slip.variables),
            other: Values::default(),
        };
        self.tell(SlipEvents::ACTIVITY_COMPENSATED, compensated)
            .await
    }

    pub(crate) async fn activity_compensation_failed(
        &self,
        slip: &RoutingSlip,
        execution: &Execution,
        error: &ExceptionInfo,
        data: &Values,
    ) -> Result<(), NotSent> {
        let failed = |include| RoutingSlipActivityCompensationFailed {
            tracking_number: slip.tracking_number,
            execution_id: execution.id,
            timestamp: execution.timestamp,
            duration: execution.elapsed(),
            activity_name: execution.name.clone(),
            host: HostInfo::current().clone().into(),
            exception_info: error.clone().into(),
            data: part(include, SlipContents::DATA, data),
            variables: part(include, SlipContents::VARIABLES, &slip.variables),
            other: Values::default(),
        };
        self.tell(SlipEvents::ACTIVITY_COMPENSATION_FAILED, failed)
            .await
    }
}

fn part(include: SlipContents, part: SlipContents, values: &Values) -> Values {
    if include.holds(part) {
        values.clone()
    } else {
        Values::default()
    }
}

fn activities(include: SlipContents, itinerary: &[ItineraryActivity]) -> Vec<ItineraryActivity> {
    if include.holds(SlipContents::ITINERARY) {
        itinerary.to_vec()
    } else {
        Vec::new()
    }
}

/// Time since the slip was made; zero if another clock runs ahead.
fn age(slip: &RoutingSlip) -> TimeSpan {
    let age = SystemTime::now().duration_since(slip.create_timestamp.0);
    span(age.unwrap_or_default())
}
