//! Instances in the memory of the process.

mod tables;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bus_core::consume::{Begun, UnitOfWork, Work};
use bus_core::error::BoxError;
use bus_core::send::SealedMessage;
use bus_core::{ConsumeContext, ConsumeError, ConsumeResult};
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use crate::error::SagaError;
use crate::repository::{Find, SagaRepository, StoredInstance};
use tables::{Lock, Refusal, Tables};

/// Time for which an instance that has finished is remembered.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Repository of sagas in the memory of the process, cheap to clone.
///
/// Clones share their instances. For tests, and for processes that may be forgotten: nothing
/// survives the process, and no other one sees it.
///
/// Events of one instance are handled one after the other, those of others beside them. An attempt
/// that fails changes nothing. Instances that have finished are remembered for a day, by tokio's
/// clock.
///
/// ```
/// use bus_core::{Endpoint, Message};
/// use bus_inmemory::Harness;
/// use bus_saga::{MemorySagas, Saga, SagaState, Sagas, StateMachine, by};
/// use serde::{Deserialize, Serialize};
/// use uuid::Uuid;
///
/// # #[derive(Default, Serialize, Deserialize)] struct Order {}
/// # #[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)] enum Stage { Unpaid }
/// # impl Saga for Order { type State = Stage; const NAME: &'static str = "order"; }
/// # #[derive(Serialize, Deserialize, Message)] #[message("Shop:OrderPlaced")]
/// # struct OrderPlaced { order_id: Uuid }
/// # #[derive(Serialize, Deserialize, Message)] #[message("Shop:OrderPaid")]
/// # struct OrderPaid { order_id: Uuid }
/// # fn order_saga() -> StateMachine<Order> {
/// #     let mut saga = StateMachine::<Order>::new();
/// #     let placed = saga.event(by::id(|it: &OrderPlaced| it.order_id));
/// #     let paid = saga.event(by::id(|it: &OrderPaid| it.order_id));
/// #     saga.initially(placed, |on| on.go(Stage::Unpaid))
/// #         .during(Stage::Unpaid, paid, |on| on.finish())
/// #         .ignore(Stage::Unpaid, placed);
/// #     saga
/// # }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let sagas = MemorySagas::new();
/// let endpoint = order_saga().stored_in(sagas.clone()).on(Endpoint::new("orders"));
/// let harness = Harness::start(|bus| bus.endpoint(endpoint)).await?;
///
/// let order_id = Uuid::now_v7();
/// harness.publish(&OrderPlaced { order_id }).await?;
/// harness.quiescent().await;
///
/// let order = Sagas::<Order>::of(sagas).find(order_id).await?.ok_or("no order")?;
/// assert_eq!(order.state, Some(Stage::Unpaid));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct MemorySagas {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    tables: Mutex<Tables>,
    unit: Arc<MemoryUnit>,
}

impl MemorySagas {
    /// Creates a repository without instances.
    pub fn new() -> Self {
        let shared = Arc::new_cyclic(|shared| Shared {
            tables: Mutex::new(Tables::new(DAY)),
            unit: Arc::new(MemoryUnit {
                shared: std::sync::Weak::clone(shared),
            }),
        });
        Self { shared }
    }

    /// Returns the number of instances that have not finished.
    pub fn len(&self) -> usize {
        self.shared.tables().len()
    }

    /// Returns `true` if there is no instance that has not finished.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for MemorySagas {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SagaRepository for MemorySagas {
    fn unit_of_work(&self) -> Arc<dyn UnitOfWork> {
        Arc::clone(&self.shared.unit) as Arc<dyn UnitOfWork>
    }

    async fn load(
        &self,
        ctx: &ConsumeContext,
        saga: &str,
        find: &Find,
    ) -> ConsumeResult<Option<StoredInstance>> {
        let visit = visit(ctx)?;
        loop {
            let Some(id) = self.shared.tables().id_of(saga, find) else {
                return Ok(None);
            };
            visit.lock(saga, id).await;
            let tables = self.shared.tables();
            // A key may have been taken over while the lock was waited for.
            if tables.id_of(saga, find) == Some(id) {
                return Ok(tables.row(saga, id));
            }
        }
    }

    async fn save(
        &self,
        ctx: &ConsumeContext,
        saga: &str,
        instance: StoredInstance,
    ) -> ConsumeResult {
        let visit = visit(ctx)?;
        visit.state().changes.push((saga.to_owned(), instance));
        Ok(())
    }

    async fn read(&self, saga: &str, find: &Find) -> Result<Option<StoredInstance>, BoxError> {
        let tables = self.shared.tables();
        let id = tables.id_of(saga, find);
        Ok(id.and_then(|id| tables.row(saga, id)))
    }
}

fn visit(ctx: &ConsumeContext) -> ConsumeResult<&Arc<Visit>> {
    ctx.extension()
        .ok_or_else(|| ConsumeError::permanent(SagaError::OutsideOfWork))
}

/// Units of work on the instances.
#[derive(Debug)]
struct MemoryUnit {
    shared: std::sync::Weak<Shared>,
}

#[async_trait]
impl UnitOfWork for MemoryUnit {
    async fn begin(&self, _: &ConsumeContext) -> ConsumeResult<Begun> {
        let shared = self.shared.upgrade();
        let shared = shared.ok_or_else(|| ConsumeError::permanent(SagaError::OutsideOfWork))?;
        let state = Mutex::default();
        Ok(Begun::work(Attempt(Arc::new(Visit { shared, state }))))
    }
}

/// One attempt: the locks that it holds, and what it has saved so far.
struct Visit {
    shared: Arc<Shared>,
    state: Mutex<VisitState>,
}

#[derive(Default)]
struct VisitState {
    held: Vec<Held>,
    changes: Vec<(String, StoredInstance)>,
}

struct Held {
    saga: String,
    id: Uuid,
    guard: OwnedMutexGuard<()>,
}

impl Visit {
    fn state(&self) -> MutexGuard<'_, VisitState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn lock(&self, saga: &str, id: Uuid) {
        let holds = |held: &Held| held.id == id && held.saga == saga;
        if self.state().held.iter().any(holds) {
            return;
        }
        // No other is held meanwhile: an attempt that waits for one must not keep another waiting.
        self.release();
        let lock: Lock = self.shared.tables().lock(saga, id);
        let guard = lock.lock_owned().await;
        let saga = saga.to_owned();
        self.state().held.push(Held { saga, id, guard });
    }

    /// Gives the locks back, and forgets those that are not waited for.
    fn release(&self) {
        let held = std::mem::take(&mut self.state().held);
        for Held { saga, id, guard } in held {
            drop(guard);
            self.shared.tables().unlock(&saga, id);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.release();
    }
}

struct Attempt(Arc<Visit>);

impl Drop for Attempt {
    // A context that outlives the attempt must not keep the instance locked.
    fn drop(&mut self) {
        self.0.release();
    }
}

#[async_trait]
impl Work for Attempt {
    fn enter(&self, ctx: ConsumeContext) -> ConsumeContext {
        ctx.with_extension(Arc::clone(&self.0))
    }

    async fn commit(
        self: Box<Self>,
        sent: Vec<SealedMessage>,
    ) -> Result<Vec<SealedMessage>, ConsumeError> {
        let changes = std::mem::take(&mut self.0.state().changes);
        let saved = self.0.shared.tables().save(changes);
        match saved {
            Ok(()) => Ok(sent),
            Err(Refusal::Conflict) => Err(ConsumeError::conflict(
                "another event has changed the instance meanwhile",
            )),
            Err(Refusal::Taken(error)) => Err(ConsumeError::permanent(error)),
        }
    }
}
