//! Activities, as users write them, and their contexts.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use bus_core::{ConsumeContext, ConsumeResult};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::contracts::{ItineraryActivity, RoutingSlip};
use crate::executed::{Compensated, Executed};

/// An activity that routing slips execute.
///
/// Its arguments are filled from those of the itinerary, then from the variables of the slip;
/// names are compared without regard to case.
///
/// An error is retried as the endpoint says. After the last retry and redelivery, the slip has
/// failed: what was done is compensated. [`ConsumeError::permanent`](bus_core::ConsumeError) fails
/// it at once. An activity may run more than once, as a consumer may.
///
/// ```
/// use bus_core::ConsumeResult;
/// use bus_courier::{Compensate, CompensateActivity, Compensated, Execute, ExecuteActivity, Executed};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// #[serde(rename_all = "camelCase")]
/// struct ReserveArguments { sku: String, quantity: u32 }
///
/// #[derive(Serialize, Deserialize)]
/// #[serde(rename_all = "camelCase")]
/// struct Reservation { sku: String }
///
/// struct Reserve;
///
/// impl ExecuteActivity for Reserve {
///     type Arguments = ReserveArguments;
///     type Log = Reservation;
///
///     async fn execute(&self, ctx: Execute<ReserveArguments>) -> ConsumeResult<Executed<Reservation>> {
///         let sku = ctx.arguments().sku.clone();
///         Ok(Executed::with_log(Reservation { sku }).variable("reserved", &ctx.arguments().quantity))
///     }
/// }
///
/// impl CompensateActivity for Reserve {
///     type Log = Reservation;
///
///     async fn compensate(&self, ctx: Compensate<Reservation>) -> ConsumeResult<Compensated> {
///         println!("released {}", ctx.log().sku);
///         Ok(Compensated::done())
///     }
/// }
/// ```
pub trait ExecuteActivity: Send + Sync + 'static {
    /// Arguments, a struct that is read from JSON; `()` if there are none.
    type Arguments: DeserializeOwned + Send + Sync + 'static;

    /// Log with which it is compensated, a struct; [`NoLog`] if it never is.
    type Log: Serialize + Send + Sync + 'static;

    /// Executes the activity.
    ///
    /// Messages that it sends through `ctx` leave with the slip, or not at all.
    ///
    /// # Errors
    /// An error fails the attempt, and after the last one the slip.
    fn execute(
        &self,
        ctx: Execute<Self::Arguments>,
    ) -> impl Future<Output = ConsumeResult<Executed<Self::Log>>> + Send;
}

/// The compensation of an activity: what undoes it when a later one fails.
///
/// It has the log that the activity left, and the variables of the slip for members that the log
/// has not. An error is retried as the endpoint says. After that, the compensation of the slip has
/// failed, and earlier activities stay as they are; [`ExecuteActivity`] has an example.
pub trait CompensateActivity: Send + Sync + 'static {
    /// The log, a struct that is read from JSON.
    type Log: DeserializeOwned + Send + Sync + 'static;

    /// Undoes what the activity has done.
    ///
    /// # Errors
    /// An error fails the attempt, and after the last one the compensation.
    fn compensate(
        &self,
        ctx: Compensate<Self::Log>,
    ) -> impl Future<Output = ConsumeResult<Compensated>> + Send;
}

/// The log of an activity that is never compensated: it has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLog {}

impl Serialize for NoLog {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        match *self {}
    }
}

impl<T: ExecuteActivity> ExecuteActivity for Arc<T> {
    type Arguments = T::Arguments;
    type Log = T::Log;

    fn execute(
        &self,
        ctx: Execute<T::Arguments>,
    ) -> impl Future<Output = ConsumeResult<Executed<T::Log>>> + Send {
        (**self).execute(ctx)
    }
}

impl<T: CompensateActivity> CompensateActivity for Arc<T> {
    type Log = T::Log;

    fn compensate(
        &self,
        ctx: Compensate<T::Log>,
    ) -> impl Future<Output = ConsumeResult<Compensated>> + Send {
        (**self).compensate(ctx)
    }
}

/// One execution of an activity.
///
/// It is the [`ConsumeContext`] of the slip too: what the activity publishes or sends goes through
/// it.
pub struct Execute<A> {
    ctx: ConsumeContext<RoutingSlip>,
    arguments: A,
    execution_id: Uuid,
}

impl<A> Execute<A> {
    pub(crate) fn new(ctx: ConsumeContext<RoutingSlip>, arguments: A, execution_id: Uuid) -> Self {
        Self {
            ctx,
            arguments,
            execution_id,
        }
    }

    /// Returns the arguments.
    pub fn arguments(&self) -> &A {
        &self.arguments
    }

    /// Returns the id of this execution; each attempt has one of its own.
    pub fn execution_id(&self) -> Uuid {
        self.execution_id
    }

    /// Returns the slip, with this activity first in its itinerary.
    pub fn slip(&self) -> &RoutingSlip {
        self.ctx.message()
    }

    /// Returns the activities after this one.
    pub fn remaining(&self) -> &[ItineraryActivity] {
        self.slip().itinerary.get(1..).unwrap_or_default()
    }
}

/// One compensation of an activity.
///
/// It is the [`ConsumeContext`] of the slip too.
pub struct Compensate<L> {
    ctx: ConsumeContext<RoutingSlip>,
    log: L,
    execution_id: Uuid,
}

impl<L> Compensate<L> {
    pub(crate) fn new(ctx: ConsumeContext<RoutingSlip>, log: L, execution_id: Uuid) -> Self {
        Self {
            ctx,
            log,
            execution_id,
        }
    }

    /// Returns the log that the activity left.
    pub fn log(&self) -> &L {
        &self.log
    }

    /// Returns the id of this compensation; each attempt has one of its own.
    pub fn execution_id(&self) -> Uuid {
        self.execution_id
    }

    /// Returns the slip, with the log of this activity as its last one.
    pub fn slip(&self) -> &RoutingSlip {
        self.ctx.message()
    }
}

impl<A> Deref for Execute<A> {
    type Target = ConsumeContext<RoutingSlip>;

    fn deref(&self) -> &Self::Target {
        &self.ctx
    }
}

impl<L> Deref for Compensate<L> {
    type Target = ConsumeContext<RoutingSlip>;

    fn deref(&self) -> &Self::Target {
        &self.ctx
    }
}

impl<A> fmt::Debug for Execute<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execute")
            .field("tracking_number", &self.slip().tracking_number)
            .field("execution_id", &self.execution_id)
            .finish_non_exhaustive()
    }
}

impl<L> fmt::Debug for Compensate<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compensate")
            .field("tracking_number", &self.slip().tracking_number)
            .field("execution_id", &self.execution_id)
            .finish_non_exhaustive()
    }
}
