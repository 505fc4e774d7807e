//! Activities that write down what they do.

use std::sync::{Arc, Mutex, PoisonError};

use bus_core::{BusBuilder, ConsumeError, ConsumeResult, Endpoint};
use bus_courier::{
    ActivityEndpoint, Compensate, CompensateActivity, Compensated, Execute, ExecuteActivity,
    Executed, Itinerary, NoLog, RoutingSlip, RoutingSlipBuilder, compensate, execute,
    execute_compensated,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What happened, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diary {
    entries: Arc<Mutex<Vec<String>>>,
    failing: Option<&'static str>,
}

impl Diary {
    pub(crate) fn failing(entry: &'static str) -> Self {
        Self {
            failing: Some(entry),
            ..Self::default()
        }
    }

    fn write(&self, entry: String) -> ConsumeResult {
        let fails = self.failing == Some(entry.as_str());
        let error = ConsumeError::from(format!("{entry} fails"));
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(entry);
        if fails { Err(error) } else { Ok(()) }
    }

    pub(crate) fn entries(&self) -> Vec<String> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.clone()
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Named {
    name: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Undo {
    undo: String,
}

/// An activity that can be undone.
struct Doing(Diary);

impl ExecuteActivity for Doing {
    type Arguments = Named;
    type Log = Undo;

    async fn execute(&self, ctx: Execute<Named>) -> ConsumeResult<Executed<Undo>> {
        let name = ctx.arguments().name.clone();
        self.0.write(format!("do {name}"))?;
        Ok(Executed::with_log(Undo { undo: name.clone() }).variable("Done", &name))
    }
}

impl CompensateActivity for Doing {
    type Log = Undo;

    async fn compensate(&self, ctx: Compensate<Undo>) -> ConsumeResult<Compensated> {
        let undo = &ctx.log().undo;
        self.0.write(format!("undo {undo}"))?;
        Ok(Compensated::done().variable("undone", undo))
    }
}

/// How the last activity ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Last {
    Succeeds,
    Fails,
    FailsTimes(u32),
    Terminates,
    Revises,
    Panics,
}

/// The variables of a slip, as arguments.
#[derive(Debug, Deserialize)]
pub(crate) struct Shared {
    #[serde(default = "none")]
    order: String,
    #[serde(default = "none")]
    done: String,
}

fn none() -> String {
    "none".to_owned()
}

type Ending = dyn Fn(&Execute<Shared>) -> ConsumeResult<Executed<NoLog>> + Send + Sync;

/// An activity that is never undone.
pub(crate) struct Step {
    name: &'static str,
    diary: Diary,
    ending: Box<Ending>,
}

impl Step {
    pub(crate) fn new(
        name: &'static str,
        diary: &Diary,
        ending: impl Fn(&Execute<Shared>) -> ConsumeResult<Executed<NoLog>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            diary: diary.clone(),
            ending: Box::new(ending),
        }
    }
}

impl ExecuteActivity for Step {
    type Arguments = Shared;
    type Log = NoLog;

    async fn execute(&self, ctx: Execute<Shared>) -> ConsumeResult<Executed<NoLog>> {
        let Shared { order, done } = ctx.arguments();
        self.diary
            .write(format!("{} of {order} after {done}", self.name))?;
        (self.ending)(&ctx)
    }
}

fn end(last: Last, ctx: &Execute<Shared>) -> ConsumeResult<Executed<NoLog>> {
    match last {
        Last::Succeeds => Ok(Executed::done()),
        Last::FailsTimes(times) if ctx.attempt() > times => Ok(Executed::done()),
        Last::Fails | Last::FailsTimes(_) => Err("no".into()),
        Last::Terminates => Ok(Executed::terminate()),
        Last::Revises => {
            let inserted = json!({ "name": "inserted" });
            let itinerary = Itinerary::new().activity("A", "queue:a_execute", &inserted);
            Ok(Executed::done().revise(itinerary.then(ctx.remaining())))
        }
        Last::Panics => panic!("the activity panicked"),
    }
}

/// The endpoints of two activities that can be undone, and of a last one.
pub(crate) fn services(bus: BusBuilder, diary: &Diary, last: Last) -> BusBuilder {
    let doing = || Doing(diary.clone());
    let step = Step::new("last", diary, move |ctx| end(last, ctx));
    let endpoint = |name: &str| Endpoint::new(name);
    bus.endpoint(endpoint("a_execute").activity(execute_compensated(doing(), "a_compensate")))
        .endpoint(endpoint("a_compensate").activity(compensate(doing())))
        .endpoint(endpoint("b_execute").activity(execute_compensated(doing(), "b_compensate")))
        .endpoint(endpoint("b_compensate").activity(compensate(doing())))
        .endpoint(endpoint("last_execute").activity(execute(step)))
}

/// A slip of the activities A and B, and the last one.
pub(crate) fn slip() -> RoutingSlipBuilder {
    RoutingSlip::builder()
        .activity("A", "queue:a_execute", &json!({ "name": "a" }))
        .activity("B", "queue:b_execute", &json!({ "name": "b" }))
        .activity("Last", "queue:last_execute", &())
}
