//! Host of an activity: executes it, and sends the slip on.

use std::fmt;
use std::sync::Arc;

use bus_core::codec::HostInfo;
use bus_core::consume::FailureHandler;
use bus_core::error::ExceptionInfo;
use bus_core::{ConsumeContext, ConsumeError, ConsumeResult, Consumer, async_trait};

use crate::activity::{Execute, ExecuteActivity, NoLog};
use crate::contracts::{
    ActivityException, ActivityLog, CompensateLog, ItineraryActivity, RoutingSlip,
};
use crate::error::SlipError;
use crate::executed::{Course, Executed};
use crate::execution::Execution;
use crate::forward::{forward, sent};
use crate::merged::merged;
use crate::publisher::Publisher;
use crate::values::Values;

/// Creates the consumer that executes an activity which is never compensated.
///
/// For [`ActivityEndpoint::activity`](crate::ActivityEndpoint::activity).
pub fn execute<A: ExecuteActivity<Log = NoLog>>(activity: A) -> ExecuteHost<A> {
    ExecuteHost {
        activity,
        compensation: String::new(),
    }
}

/// Creates the consumer that executes an activity which is compensated at a queue.
///
/// The queue is that of an endpoint with [`compensate`](crate::compensate). An execution that
/// leaves no log is not compensated.
pub fn execute_compensated<A: ExecuteActivity>(
    activity: A,
    queue: impl Into<String>,
) -> ExecuteHost<A> {
    ExecuteHost {
        activity,
        compensation: format!("queue:{}", queue.into()),
    }
}

/// Consumer of routing slips that executes an activity; made by [`execute`].
///
/// An activity that has failed for good sends the slip back for its compensations. The message
/// itself is consumed then; it is in the error queue only if the slip can go nowhere.
pub struct ExecuteHost<A> {
    activity: A,
    compensation: String,
}

impl<A: ExecuteActivity> ExecuteHost<A> {
    async fn proceed(
        &self,
        ctx: &ConsumeContext<RoutingSlip>,
        execution: &Execution,
        executed: Executed<A::Log>,
    ) -> ConsumeResult {
        let mut slip = ctx.message().clone();
        let data = self.note(&mut slip, execution, executed.log)?;
        executed
            .variables
            .apply(&mut slip.variables)
            .map_err(ConsumeError::permanent)?;
        let done = slip.itinerary.remove(0);
        let discarded = slip.itinerary.clone();
        let revised = matches!(executed.course, Course::Revised(_));
        let terminated = matches!(executed.course, Course::Terminates);
        match executed.course {
            Course::Goes => {}
            Course::Terminates => slip.itinerary.clear(),
            Course::Revised(itinerary) => {
                slip.itinerary = itinerary.finish().map_err(ConsumeError::permanent)?;
            }
        }
        let events = Publisher::at(ctx, &slip, execution);
        let completed = events.activity_completed(&slip, execution, &done.arguments, &data);
        sent(completed.await)?;
        if revised {
            sent(events.revised(&slip, execution, &discarded).await)?;
        } else if terminated {
            sent(events.terminated(&slip, execution, &discarded).await)?;
        }
        match slip.itinerary.first() {
            Some(next) => forward(ctx, &next.address, &slip).await,
            None => sent(events.completed(&slip).await),
        }
    }

    /// Notes in the slip what was done, and what undoes it; returns the log.
    fn note(
        &self,
        slip: &mut RoutingSlip,
        execution: &Execution,
        log: Option<A::Log>,
    ) -> ConsumeResult<Values> {
        slip.activity_logs.push(ActivityLog {
            execution_id: execution.id,
            name: execution.name.clone(),
            timestamp: Some(execution.timestamp),
            duration: execution.elapsed(),
            host: HostInfo::current().clone().into(),
            other: Values::default(),
        });
        let Some(log) = log else {
            return Ok(Values::default());
        };
        let data = Values::of(&log).map_err(|source| {
            let name = execution.name.clone();
            ConsumeError::permanent(SlipError::WriteLog { name, source })
        })?;
        slip.compensate_logs.push(CompensateLog {
            execution_id: execution.id,
            address: self.compensation.clone(),
            data: data.clone(),
            other: Values::default(),
        });
        Ok(data)
    }
}

fn current(slip: &RoutingSlip) -> ConsumeResult<&ItineraryActivity> {
    let nothing = || ConsumeError::permanent(SlipError::NothingToExecute(slip.tracking_number));
    slip.itinerary.first().ok_or_else(nothing)
}

impl<A: ExecuteActivity> Consumer<RoutingSlip> for ExecuteHost<A> {
    async fn consume(&self, ctx: ConsumeContext<RoutingSlip>) -> ConsumeResult {
        let slip = ctx.message();
        let activity = current(slip)?;
        let execution = Execution::begin(&activity.name);
        let arguments = merged(&activity.arguments, &slip.variables).map_err(|source| {
            let name = activity.name.clone();
            ConsumeError::permanent(SlipError::ReadArguments { name, source })
        })?;
        let executing = Execute::new(ctx.clone(), arguments, execution.id);
        let executed = self.activity.execute(executing).await?;
        self.proceed(&ctx, &execution, executed).await
    }

    fn failure_handler(&self) -> Option<Arc<dyn FailureHandler<RoutingSlip>>> {
        Some(Arc::new(Faulting))
    }
}

/// Makes the final failure of an activity that of its slip.
struct Faulting;

#[async_trait]
impl FailureHandler<RoutingSlip> for Faulting {
    fn handles(&self, error: &ConsumeError) -> bool {
        !SlipError::is_stuck(error)
    }

    async fn handle(
        &self,
        ctx: ConsumeContext<RoutingSlip>,
        error: &ConsumeError,
    ) -> ConsumeResult {
        let mut slip = ctx.message().clone();
        let activity = current(&slip)?.clone();
        let execution = Execution::begin(&activity.name);
        let exception = ActivityException {
            execution_id: execution.id,
            timestamp: Some(execution.timestamp),
            elapsed: execution.elapsed(),
            name: activity.name.clone(),
            host: HostInfo::current().clone().into(),
            exception_info: ExceptionInfo::of(error).into(),
            other: Values::default(),
        };
        slip.activity_exceptions.push(exception.clone());
        let events = Publisher::at(&ctx, &slip, &execution);
        let faulted = events.activity_faulted(&slip, &exception, &activity.arguments);
        sent(faulted.await)?;
        match slip.compensate_logs.last() {
            Some(log) => forward(&ctx, &log.address, &slip).await,
            None => sent(events.faulted(&slip).await),
        }
    }
}

impl<A> fmt::Debug for ExecuteHost<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecuteHost")
            .field("compensation", &self.compensation)
            .finish_non_exhaustive()
    }
}
