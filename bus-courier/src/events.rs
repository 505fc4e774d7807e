//! Events of a routing slip, as they travel.

use bus_core::Message;
use bus_core::codec::HostInfo;
use bus_core::error::ExceptionInfo;
use bus_core::message::MessageType;
use bus_core::serde_helpers::{DateTime, TimeSpan};
use uuid::Uuid;

use crate::contract::contract;
use crate::contracts::{ActivityException, ItineraryActivity};
use crate::kept::Kept;
use crate::values::Values;

contract! {
    /// The slip has completed.
    pub struct RoutingSlipCompleted {
        /// The slip.
        pub tracking_number: Uuid = required "trackingNumber",
        /// Time of the completion.
        pub timestamp: DateTime = required "timestamp",
        /// Time since the slip was made.
        pub duration: TimeSpan = defaulted "duration",
        /// Variables at the end.
        pub variables: Values = defaulted "variables",
    }

    /// The slip has failed, and what was done is compensated.
    pub struct RoutingSlipFaulted {
        /// The slip.
        pub tracking_number: Uuid = required "trackingNumber",
        /// Time of the end.
        pub timestamp: DateTime = required "timestamp",
        /// Time since the slip was made.
        pub duration: TimeSpan = defaulted "duration",
        /// The activities that failed.
        pub activity_exceptions: Vec<ActivityException> = defaulted "activityExceptions",
        /// Variables at the end.
        pub variables: Values = defaulted "variables",
    }

    /// The slip has failed, and its compensation too.
    pub struct RoutingSlipCompensationFailed {
        /// The slip.
        pub tracking_number: Uuid = required "trackingNumber",
        /// The process that could not compensate.
        pub host: Kept<HostInfo> = defaulted "host",
        /// Time of the end.
        pub timestamp: DateTime = required "timestamp",
        /// Time since the slip was made.
        pub duration: TimeSpan = defaulted "duration",
        /// The error of the compensation.
        pub exception_info: Kept<ExceptionInfo> = defaulted "exceptionInfo",
        /// Variables at the end.
        pub variables: Values = defaulted "variables",
    }

    /// An activity has ended the slip.
    pub struct RoutingSlipTerminated {
        /// The slip.
        pub tracking_number: Uuid = required "trackingNumber",
        /// The activity.
        pub activity_name: String = defaulted "activityName",
        /// Id of its execution.
        pub execution_id: Uuid = required "executionId",
        /// The process that executed it.
        pub host: Kept<HostInfo> = defaulted "host",
        /// Time at which it began.
        pub timestamp: DateTime = required "timestamp",
        /// Time that it took.
        pub duration: TimeSpan = defaulted "duration",
        /// Variables at the end.
        pub variables: Values = defaulted "variables",
        /// Activities that are not executed.
        pub discarded_itinerary: Vec<ItineraryActivity> = defaulted "discardedItinerary",
    }

    /// An activity has changed the itinerary.
    pub struct RoutingSlipRevised {
        /// The slip.
        pub tracking_number: Uuid = required "trackingNumber",
        /// The activity.
        pub activity_name: String = defaulted "activityName",
        /// Id of its execution.
        pub execution_id: Uuid = required "executionId",
        /// The process that executed it.
        pub host: Kept<HostInfo> = defaulted "host",
        /// Time at which it began.
        pub timestamp: DateTime = required "timestamp",
        /// Time that it took.
        pub duration: TimeSpan = defaulted "duration",
        /// Variables after it.
        pub variables: Values = defaulted "variables",
        /// The new itinerary.
        pub itinerary: Vec<ItineraryActivity> = defaulted "itinerary",
        /// The old itinerary.
        pub discarded_itinerary: Vec<ItineraryActivity> = defaulted "discardedItinerary",
    }

    /// An activity has completed.
    pub struct RoutingSlipActivityCompleted {
        /// The slip.
        pub tracking_number: Uuid = required "trackingNumber",
        /// Id of the execution.
        pub execution_id: Uuid = required "executionId",
        /// Time at which it began.
        pub timestamp: DateTime = required "timestamp",
        /// Time that it took.
        pub duration: TimeSpan = defaulted "duration",
        /// The activity.
        pub activity_name: String = defaulted "activityName",
        /// The process that executed it.
        pub host: Kept<HostInfo> = defaulted "host",
        /// Its arguments.
        pub arguments: Values = defaulted "arguments",
        /// Its log.
        pub data: Values = defaulted "data",
        /// Variables after it.
        pub variables: Values = defaulted "variables",
    }

    /// An activity has failed.
    pub struct RoutingSlipActivityFaulted {
        /// The slip.
        pub tracking_number: Uuid = required "trackingNumber",
        /// Id of the execution.
        pub execution_id: Uuid = required "executionId",
        /// Time at which it began.
        pub timestamp: DateTime = required "timestamp",
        /// Time that it took.
        pub duration: TimeSpan = defaulted "duration",
        /// The activity.
        pub activity_name: String = defaulted "activityName",
        /// The process that executed it.
        pub host: Kept<HostInfo> = defaulted "host",
        /// The error.
        pub exception_info: Kept<ExceptionInfo> = defaulted "exceptionInfo",
        /// Its arguments.
        pub arguments: Values = defaulted "arguments",
        /// Variables at the time.
        pub variables: Values = defaulted "variables",
    }

    /// An activity was compensated.
    pub struct RoutingSlipActivityCompensated {
        /// The slip.
        pub tracking_number: Uuid = required "trackingNumber",
        /// Id of the compensation.
        pub execution_id: Uuid = required "executionId",
        /// Time at which it began.
        pub timestamp: DateTime = required "timestamp",
        /// Time that it took.
        pub duration: TimeSpan = defaulted "duration",
        /// The activity.
        pub activity_name: String = defaulted "activityName",
        /// The process that compensated it.
        pub host: Kept<HostInfo> = defaulted "host",
        /// Its log.
        pub data: Values = defaulted "data",
        /// Variables after it.
        pub variables: Values = defaulted "variables",
    }

    /// An activity could not be compensated.
    pub struct RoutingSlipActivityCompensationFailed {
        /// The slip.
        pub tracking_number: Uuid = required "trackingNumber",
        /// Id of the compensation.
        pub execution_id: Uuid = required "executionId",
        /// Time at which it began.
        pub timestamp: DateTime = required "timestamp",
        /// Time that it took.
        pub duration: TimeSpan = defaulted "duration",
        /// The activity.
        pub activity_name: String = defaulted "activityName",
        /// The process that could not compensate it.
        pub host: Kept<HostInfo> = defaulted "host",
        /// The error of the compensation.
        pub exception_info: Kept<ExceptionInfo> = defaulted "exceptionInfo",
        /// Its log.
        pub data: Values = defaulted "data",
        /// Variables at the time.
        pub variables: Values = defaulted "variables",
    }
}

macro_rules! correlated {
    ($($name:ident by $member:ident,)*) => {$(
        impl Message for $name {
            fn message_type() -> MessageType {
                MessageType::new(concat!("MassTransit.Courier.Contracts:", stringify!($name)))
            }

            fn correlation_id(&self) -> Option<Uuid> {
                Some(self.$member)
            }
        }
    )*};
}

correlated! {
    RoutingSlipCompleted by tracking_number,
    RoutingSlipFaulted by tracking_number,
    RoutingSlipCompensationFailed by tracking_number,
    RoutingSlipTerminated by tracking_number,
    RoutingSlipRevised by tracking_number,
    RoutingSlipActivityCompleted by execution_id,
    RoutingSlipActivityFaulted by execution_id,
    RoutingSlipActivityCompensated by execution_id,
    RoutingSlipActivityCompensationFailed by execution_id,
}
