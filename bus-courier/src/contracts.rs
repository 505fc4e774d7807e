//! The routing slip as it travels: itinerary, logs, variables, subscriptions.

use bus_core::Message;
use bus_core::codec::HostInfo;
use bus_core::error::ExceptionInfo;
use bus_core::message::MessageType;
use bus_core::serde_helpers::{DateTime, TimeSpan};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::contract::contract;
use crate::flags::{SlipContents, SlipEvents};
use crate::kept::Kept;
use crate::values::Values;

contract! {
    /// A routing slip: activities to come, what was done, and what all share.
    ///
    /// Made by [`builder`](Self::builder), sent on its way by
    /// [`Courier::execute`](crate::Courier::execute), and passed from activity to activity.
    pub struct RoutingSlip {
        /// Id of the slip, the same on its whole way; its correlation id.
        pub tracking_number: Uuid = required "trackingNumber",
        /// Time at which the slip was made.
        pub create_timestamp: DateTime = required "createTimestamp",
        /// Activities to come, the next one first.
        pub itinerary: Vec<ItineraryActivity> = defaulted "itinerary",
        /// Activities that completed, the last one last.
        pub activity_logs: Vec<ActivityLog> = defaulted "activityLogs",
        /// Logs of what can be compensated, the last one last.
        pub compensate_logs: Vec<CompensateLog> = defaulted "compensateLogs",
        /// Values that all activities see.
        pub variables: Values = defaulted "variables",
        /// Activities that failed.
        pub activity_exceptions: Vec<ActivityException> = defaulted "activityExceptions",
        /// Addresses that get events.
        pub subscriptions: Vec<Subscription> = defaulted "subscriptions",
    }

    /// An activity to come.
    pub struct ItineraryActivity {
        /// Name of the activity, for events and logs.
        pub name: String = required "name",
        /// Address of its endpoint.
        pub address: String = required "address",
        /// Arguments of its own, which come before variables of the same name.
        pub arguments: Values = defaulted "arguments",
    }

    /// An activity that completed.
    pub struct ActivityLog {
        /// Id of the execution.
        pub execution_id: Uuid = required "executionId",
        /// Name of the activity.
        pub name: String = required "name",
        /// Time at which it began.
        pub timestamp: Option<DateTime> = defaulted "timestamp",
        /// Time that it took.
        pub duration: TimeSpan = defaulted "duration",
        /// The process that executed it.
        pub host: Kept<HostInfo> = defaulted "host",
    }

    /// The log with which an activity is compensated.
    pub struct CompensateLog {
        /// Id of the execution that is compensated.
        pub execution_id: Uuid = required "executionId",
        /// Address of the endpoint that compensates it.
        pub address: String = required "address",
        /// The log that the activity left.
        pub data: Values = defaulted "data",
    }

    /// An activity that failed.
    pub struct ActivityException {
        /// Id of the execution.
        pub execution_id: Uuid = required "executionId",
        /// Time at which it began.
        pub timestamp: Option<DateTime> = defaulted "timestamp",
        /// Time that it took.
        pub elapsed: TimeSpan = defaulted "elapsed",
        /// Name of the activity.
        pub name: String = required "name",
        /// The process that executed it.
        pub host: Kept<HostInfo> = defaulted "host",
        /// The error.
        pub exception_info: Kept<ExceptionInfo> = defaulted "exceptionInfo",
    }

    /// An address that gets events of the slip.
    pub struct Subscription {
        /// Address to which the events go.
        pub address: String = required "address",
        /// Events that go there.
        pub events: SlipEvents = defaulted "events",
        /// Contents of these events.
        pub include: SlipContents = defaulted "include",
        /// Activity of which the events of activities go there; `None` for all.
        pub activity_name: Option<String> = defaulted "activityName",
        /// Message that MassTransit sends together with the event, kept as it came.
        pub message: Option<Json> = defaulted "message",
    }
}

/// JSON text that is passed on as it came.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

impl Json {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl RoutingSlip {
    /// Creates a slip that does nothing.
    pub(crate) fn empty(tracking_number: Uuid) -> Self {
        Self {
            tracking_number,
            create_timestamp: DateTime::now(),
            itinerary: Vec::new(),
            activity_logs: Vec::new(),
            compensate_logs: Vec::new(),
            variables: Values::default(),
            activity_exceptions: Vec::new(),
            subscriptions: Vec::new(),
            other: Values::default(),
        }
    }
}

impl ItineraryActivity {
    /// Creates an activity to come.
    pub(crate) fn new(name: String, address: String, arguments: Values) -> Self {
        Self {
            name,
            address,
            arguments,
            other: Values::default(),
        }
    }
}

impl Message for RoutingSlip {
    fn message_type() -> MessageType {
        MessageType::new("MassTransit.Courier.Contracts:RoutingSlip")
    }

    fn correlation_id(&self) -> Option<Uuid> {
        Some(self.tracking_number)
    }
}
