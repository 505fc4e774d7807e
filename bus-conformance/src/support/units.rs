//! A unit of work that records its steps.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bus_core::consume::{Begun, UnitOfWork, Work};
use bus_core::send::SealedMessage;
use bus_core::{ConsumeContext, ConsumeResult, Consumer};
use tokio::sync::watch;

use super::Gate;
use super::wait::within;

/// A step of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The work of this attempt was begun.
    Begun(u32),
    /// It was committed, or tried to, with so many messages.
    Commit(usize),
    RolledBack,
    /// It was dropped without an end.
    Dropped,
}

type Begin = dyn Fn(&ConsumeContext) -> ConsumeResult<Option<Begun>> + Send + Sync;
type Commit = dyn Fn(Vec<SealedMessage>) -> ConsumeResult<Vec<SealedMessage>> + Send + Sync;

/// A unit of work whose outcomes a test chooses. Clones share the record.
#[derive(Clone)]
pub(crate) struct Units {
    steps: Arc<watch::Sender<Vec<Step>>>,
    begin: Arc<Begin>,
    commit: Arc<Commit>,
    gate: Gate,
}

impl Units {
    /// A unit that begins always, and commits all.
    pub(crate) fn new() -> Self {
        let gate = Gate::closed();
        gate.open();
        Self {
            steps: Arc::default(),
            begin: Arc::new(|_| Ok(None)),
            commit: Arc::new(Ok),
            gate,
        }
    }

    /// Begins as `begin` says: `None` is work of its own.
    pub(crate) fn beginning(
        mut self,
        begin: impl Fn(&ConsumeContext) -> ConsumeResult<Option<Begun>> + Send + Sync + 'static,
    ) -> Self {
        self.begin = Arc::new(begin);
        self
    }

    /// Commits as `commit` says.
    pub(crate) fn committing(
        mut self,
        commit: impl Fn(Vec<SealedMessage>) -> ConsumeResult<Vec<SealedMessage>> + Send + Sync + 'static,
    ) -> Self {
        self.commit = Arc::new(commit);
        self
    }

    /// Commits once the gate is open.
    pub(crate) fn behind(mut self, gate: &Gate) -> Self {
        self.gate = gate.clone();
        self
    }

    /// Returns a consumer that brings this unit.
    pub(crate) fn around<C>(&self, consumer: C) -> InWork<C> {
        let units = self.clone();
        InWork { consumer, units }
    }

    /// Returns all steps so far.
    pub(crate) fn steps(&self) -> Vec<Step> {
        self.steps.borrow().clone()
    }

    /// Waits until there are so many steps, and returns them.
    pub(crate) async fn until(&self, count: usize) -> Vec<Step> {
        let mut steps = self.steps.subscribe();
        let what = format!("{count} steps of work");
        let enough = within(&what, steps.wait_for(|steps| steps.len() >= count)).await;
        enough.expect("the sender lives").clone()
    }

    fn note(&self, step: Step) {
        self.steps.send_modify(|steps| steps.push(step));
    }
}

impl fmt::Debug for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Units").field(&self.steps()).finish()
    }
}

/// A consumer that runs in a unit of work.
pub(crate) struct InWork<C> {
    consumer: C,
    units: Units,
}

impl<M: Send + Sync + 'static, C: Consumer<M>> Consumer<M> for InWork<C> {
    async fn consume(&self, ctx: ConsumeContext<M>) -> ConsumeResult {
        self.consumer.consume(ctx).await
    }

    fn unit_of_work(&self) -> Option<Arc<dyn UnitOfWork>> {
        Some(Arc::new(self.units.clone()))
    }
}

#[async_trait]
impl UnitOfWork for Units {
    async fn begin(&self, ctx: &ConsumeContext) -> ConsumeResult<Begun> {
        self.note(Step::Begun(ctx.attempt()));
        let begun = (self.begin)(ctx)?;
        Ok(begun.unwrap_or_else(|| {
            Begun::work(Running {
                units: self.clone(),
                is_over: false,
            })
        }))
    }
}

/// Work under way.
struct Running {
    units: Units,
    is_over: bool,
}

impl Running {
    fn ends(&mut self, step: Step) {
        self.is_over = true;
        self.units.note(step);
    }
}

#[async_trait]
impl Work for Running {
    fn enter(&self, ctx: ConsumeContext) -> ConsumeContext {
        ctx.with_extension(self.units.clone())
    }

    async fn commit(
        mut self: Box<Self>,
        sent: Vec<SealedMessage>,
    ) -> ConsumeResult<Vec<SealedMessage>> {
        self.units.gate.pass().await;
        self.ends(Step::Commit(sent.len()));
        (self.units.commit)(sent)
    }

    async fn roll_back(mut self: Box<Self>) {
        self.ends(Step::RolledBack);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_over {
            self.units.note(Step::Dropped);
        }
    }
}
