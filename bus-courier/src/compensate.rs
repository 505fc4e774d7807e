//! Host of a compensation: undoes an activity, and sends the slip further back.

use std::fmt;
use std::sync::Arc;

use bus_core::consume::FailureHandler;
use bus_core::error::ExceptionInfo;
use bus_core::{ConsumeContext, ConsumeError, ConsumeResult, Consumer, async_trait};

use crate::activity::{Compensate, CompensateActivity};
use crate::contracts::{CompensateLog, RoutingSlip};
use crate::error::SlipError;
use crate::execution::Execution;
use crate::forward::{forward, sent};
use crate::merged::merged;
use crate::publisher::Publisher;

/// Creates the consumer that compensates an activity.
///
/// For [`ActivityEndpoint::activity`](crate::ActivityEndpoint::activity), on an endpoint of its
/// own.
pub fn compensate<A: CompensateActivity>(activity: A) -> CompensateHost<A> {
    CompensateHost { activity }
}

/// Consumer of routing slips that compensates an activity; made by [`compensate`].
///
/// A compensation that has failed for good ends the slip: earlier activities stay as they are, and
/// events say so.
pub struct CompensateHost<A> {
    activity: A,
}

/// Returns what is to be compensated, and the name of its activity.
fn current(slip: &RoutingSlip) -> ConsumeResult<(&CompensateLog, &str)> {
    let nothing = || ConsumeError::permanent(SlipError::NothingToCompensate(slip.tracking_number));
    let log = slip.compensate_logs.last().ok_or_else(nothing)?;
    let mut executed = slip.activity_logs.iter().rev();
    let executed = executed.find(|executed| executed.execution_id == log.execution_id);
    Ok((log, executed.map_or("", |executed| executed.name.as_str())))
}

impl<A: CompensateActivity> Consumer<RoutingSlip> for CompensateHost<A> {
    async fn consume(&self, ctx: ConsumeContext<RoutingSlip>) -> ConsumeResult {
        let (log, name) = current(ctx.message())?;
        let execution = Execution::begin(name);
        let read = merged(&log.data, &ctx.message().variables).map_err(|source| {
            let name = name.to_owned();
            ConsumeError::permanent(SlipError::ReadLog { name, source })
        })?;
        let compensating = Compensate::new(ctx.clone(), read, execution.id);
        let compensated = self.activity.compensate(compensating).await?;
        let mut slip = ctx.message().clone();
        slip.compensate_logs.pop();
        compensated
            .variables
            .apply(&mut slip.variables)
            .map_err(ConsumeError::permanent)?;
        let events = Publisher::at(&ctx, &slip, &execution);
        sent(
            events
                .activity_compensated(&slip, &execution, &log.data)
                .await,
        )?;
        match slip.compensate_logs.last() {
            Some(earlier) => forward(&ctx, &earlier.address, &slip).await,
            None => sent(events.faulted(&slip).await),
        }
    }

    fn failure_handler(&self) -> Option<Arc<dyn FailureHandler<RoutingSlip>>> {
        Some(Arc::new(Failing))
    }
}

/// Makes the final failure of a compensation the end of its slip.
struct Failing;

#[async_trait]
impl FailureHandler<RoutingSlip> for Failing {
    fn handles(&self, error: &ConsumeError) -> bool {
        !SlipError::is_stuck(error)
    }

    async fn handle(
        &self,
        ctx: ConsumeContext<RoutingSlip>,
        error: &ConsumeError,
    ) -> ConsumeResult {
        let slip = ctx.message();
        let (log, name) = current(slip)?;
        let execution = Execution::begin(name);
        let error = ExceptionInfo::of(error);
        let events = Publisher::at(&ctx, slip, &execution);
        let failed = events.activity_compensation_failed(slip, &execution, &error, &log.data);
        sent(failed.await)?;
        sent(events.compensation_failed(slip, &error).await)
    }
}

impl<A> fmt::Debug for CompensateHost<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompensateHost").finish_non_exhaustive()
    }
}
