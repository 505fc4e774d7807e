//! Sagas in the transactions of their events.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use bus_core::consume::UnitOfWork;
use bus_core::error::BoxError;
use bus_core::transport::ScheduleToken;
use bus_core::{ConsumeContext, ConsumeError, ConsumeResult};
use bus_saga::{Activity, Find, Saga, SagaError, SagaRepository, Step, StoredInstance};

use crate::backend::Backend;
use crate::bounded;
use crate::consumer::judged;
use crate::error::SqlError;
use crate::sql::Sql;
use crate::store::{SagaName, SagaRow};
use crate::tx::{Slot, Tx};
use crate::work::{SqlUnit, consume_error};

impl<DB: Backend> Sql<DB> {
    /// Makes a repository of sagas in this database.
    ///
    /// ```no_run
    /// # #[cfg(feature = "sqlite")]
    /// # mod example {
    /// use bus_core::Endpoint;
    /// use bus_saga::{Saga, StateMachine};
    /// use bus_sql::{Sql, sqlx};
    ///
    /// fn endpoint<S: Saga>(saga: StateMachine<S>, sql: &Sql<sqlx::Sqlite>) -> Endpoint {
    ///     saga.stored_in(sql.sagas()).on(Endpoint::new("orders"))
    /// }
    /// # }
    /// ```
    pub fn sagas(&self) -> SqlSagas<DB> {
        SqlSagas {
            unit: Arc::new(SqlUnit::new(self.clone())),
            sql: self.clone(),
            locks: true,
        }
    }

    /// Makes an activity of a saga out of one that works in its transaction.
    pub fn activity<A>(&self, activity: A) -> InTransaction<DB, A> {
        InTransaction {
            activity,
            database: std::marker::PhantomData,
        }
    }
}

/// Repository of sagas in a database; made by [`Sql::sagas`].
///
/// The instance, the inbox row of the event, the messages of the reaction and its timeouts are
/// committed in one transaction. From its load to the commit, the row of the instance is locked:
/// other events of it wait, in each process. Instances that have finished are remembered for
/// [`Sql::remember`].
///
/// | column of `bus_saga` | holds |
/// |---|---|
/// | `saga`, `id` | the name of the saga, and the id of the instance |
/// | `state` | the state; `NULL` once it has finished |
/// | `data` | the data of the saga, as JSON |
/// | `revision` | the number of times that it was saved |
#[derive(Debug)]
pub struct SqlSagas<DB: Backend> {
    sql: Sql<DB>,
    unit: Arc<SqlUnit<DB>>,
    locks: bool,
}

impl<DB: Backend> SqlSagas<DB> {
    /// Loads instances without a lock.
    ///
    /// If two transactions change one instance, the later one is rolled back and its event handled
    /// again, up to ten times; that is no failure. For instances that are rarely changed at once,
    /// and activities that take long. SQLite locks all the same.
    #[must_use]
    pub fn optimistic(mut self) -> Self {
        self.locks = false;
        self
    }
}

impl<DB: Backend> Clone for SqlSagas<DB> {
    fn clone(&self) -> Self {
        Self {
            sql: self.sql.clone(),
            unit: Arc::clone(&self.unit),
            locks: self.locks,
        }
    }
}

fn slot<DB: Backend>(ctx: &ConsumeContext) -> ConsumeResult<&Slot<DB>> {
    let slot = ctx.extension::<Slot<DB>>();
    slot.ok_or_else(|| ConsumeError::permanent(SagaError::OutsideOfWork))
}

fn failed(error: sqlx::Error) -> ConsumeError {
    consume_error(SqlError::from(error))
}

fn ended() -> ConsumeError {
    consume_error(SqlError::ended())
}

#[async_trait]
impl<DB: Backend> SagaRepository for SqlSagas<DB> {
    fn unit_of_work(&self) -> Arc<dyn UnitOfWork> {
        Arc::clone(&self.unit) as Arc<dyn UnitOfWork>
    }

    fn keeps_until_due(&self) -> bool {
        true
    }

    async fn load(
        &self,
        ctx: &ConsumeContext,
        saga: &str,
        find: &Find,
    ) -> ConsumeResult<Option<StoredInstance>> {
        let mut tx = slot::<DB>(ctx)?.transaction().lock().await;
        let tx = tx.as_mut().ok_or_else(ended)?;
        let (names, value) = (self.sql.names(), bounded_value(find));
        let name = name_of(find, &value);
        let row = DB::load_saga(tx.conn(), names, saga, name, self.locks);
        let row = row.await.map_err(failed)?;
        tx.loaded.clone_from(&row);
        row.map(stored).transpose().map_err(ConsumeError::permanent)
    }

    async fn save(
        &self,
        ctx: &ConsumeContext,
        saga: &str,
        instance: StoredInstance,
    ) -> ConsumeResult {
        let mut tx = slot::<DB>(ctx)?.transaction().lock().await;
        let tx = tx.as_mut().ok_or_else(ended)?;
        let before = tx.loaded.take().filter(|row| row.id == instance.id);
        let before = before.map(|row| read_keys(&row)).transpose();
        let before = before.map_err(ConsumeError::permanent)?.unwrap_or_default();
        let row = row(&instance).map_err(ConsumeError::permanent)?;
        let saved = DB::save_saga(tx.conn(), self.sql.names(), saga, &row).await;
        if !saved.map_err(failed)? {
            return Err(ConsumeError::conflict(
                "another event has changed the instance meanwhile",
            ));
        }
        save_keys(tx, saga, &before, &instance).await
    }

    async fn cancel(&self, ctx: &ConsumeContext, token: ScheduleToken) -> ConsumeResult {
        let mut tx = slot::<DB>(ctx)?.transaction().lock().await;
        let tx = tx.as_mut().ok_or_else(ended)?;
        tx.cancel(token).await.map(drop).map_err(consume_error)
    }

    async fn read(&self, saga: &str, find: &Find) -> Result<Option<StoredInstance>, BoxError> {
        self.sql.ready().await?;
        let mut conn = self.sql.pool().acquire().await?;
        let value = bounded_value(find);
        let name = name_of(find, &value);
        let row = DB::load_saga(&mut conn, self.sql.names(), saga, name, false).await?;
        Ok(row.map(stored).transpose()?)
    }
}

/// Gives back the keys that an instance has no more, and takes its new ones.
async fn save_keys<DB: Backend>(
    tx: &mut Tx<DB>,
    saga: &str,
    before: &[(String, String)],
    instance: &StoredInstance,
) -> ConsumeResult {
    let (sql, id) = (tx.sql().clone(), instance.id);
    for (name, value) in before.iter().filter(|key| !instance.keys.contains(key)) {
        let key = (name.as_str(), &*bounded::key(value));
        let dropped = DB::drop_saga_key(tx.conn(), sql.names(), saga, key, id).await;
        dropped.map_err(failed)?;
    }
    for (name, value) in instance.keys.iter().filter(|key| !before.contains(key)) {
        let key = (name.as_str(), &*bounded::key(value));
        let taken = DB::take_saga_key(tx.conn(), sql.names(), saga, key, id).await;
        if !taken.map_err(failed)? {
            return Err(ConsumeError::permanent(SagaError::KeyTaken {
                saga: saga.to_owned(),
                id,
                key: name.clone(),
                value: value.clone(),
            }));
        }
    }
    Ok(())
}

fn bounded_value(find: &Find) -> std::borrow::Cow<'_, str> {
    match find {
        Find::Id(_) => "".into(),
        Find::Key { value, .. } => bounded::key(value),
    }
}

fn name_of<'a>(find: &'a Find, value: &'a str) -> SagaName<'a> {
    match find {
        Find::Id(id) => SagaName::Id(*id),
        Find::Key { name, .. } => SagaName::Key(name, value),
    }
}

fn read_keys(row: &SagaRow) -> Result<Vec<(String, String)>, SqlError> {
    serde_json::from_str(&row.keys).map_err(SqlError::unreadable)
}

fn stored(row: SagaRow) -> Result<StoredInstance, SqlError> {
    Ok(StoredInstance {
        keys: read_keys(&row)?,
        id: row.id,
        revision: u64::try_from(row.revision).map_err(SqlError::unreadable)?,
        state: row.state,
        data: row.data,
        meta: row.meta,
    })
}

fn row(instance: &StoredInstance) -> Result<SagaRow, SqlError> {
    Ok(SagaRow {
        id: instance.id,
        revision: i64::try_from(instance.revision).map_err(SqlError::unreadable)?,
        state: instance.state.clone(),
        data: instance.data.clone(),
        meta: instance.meta.clone(),
        keys: serde_json::to_string(&instance.keys).map_err(SqlError::unreadable)?,
    })
}

/// Activity of a saga with statements in the transaction of its event.
///
/// [`Sql::activity`] makes an [`Activity`] of it, for sagas in the same database.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # mod example {
/// use bus_core::{ConsumeResult, Message};
/// use bus_saga::{Saga, Step};
/// use bus_sql::{Tx, TxActivity, sqlx};
/// # use bus_saga::SagaState;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Default, Serialize, Deserialize)] struct Order {}
/// # #[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)] enum Stage { Open }
/// # impl Saga for Order { type State = Stage; const NAME: &'static str = "order"; }
/// # #[derive(Serialize, Deserialize, Message)]
/// # #[message("Shop:OrderPlaced")]
/// # struct OrderPlaced { number: String }
///
/// struct Book;
///
/// impl TxActivity<Order, OrderPlaced, sqlx::Sqlite> for Book {
///     async fn run(
///         &self,
///         step: &mut Step<'_, Order, OrderPlaced>,
///         tx: &mut Tx<sqlx::Sqlite>,
///     ) -> ConsumeResult {
///         sqlx::query("INSERT INTO booking (number) VALUES ($1)")
///             .bind(&step.message.number)
///             .execute(tx.conn())
///             .await?;
///         Ok(())
///     }
/// }
/// # }
/// ```
pub trait TxActivity<S: Saga, M, DB: Backend>: Send + Sync + 'static {
    /// Runs the step; an error fails the attempt, and rolls back.
    fn run(
        &self,
        step: &mut Step<'_, S, M>,
        tx: &mut Tx<DB>,
    ) -> impl Future<Output = ConsumeResult> + Send;
}

/// Activity that works in the transaction of its event; made by [`Sql::activity`].
#[derive(Debug)]
pub struct InTransaction<DB, A> {
    activity: A,
    database: std::marker::PhantomData<fn(DB)>,
}

impl<S, M, DB, A> Activity<S, M> for InTransaction<DB, A>
where
    S: Saga,
    M: Send + Sync + 'static,
    DB: Backend,
    A: TxActivity<S, M, DB>,
{
    fn name(&self) -> String {
        let name = std::any::type_name::<A>();
        name.rsplit("::").next().unwrap_or(name).to_owned()
    }

    async fn run(&self, step: &mut Step<'_, S, M>) -> ConsumeResult {
        let outside = || ConsumeError::permanent(SagaError::OutsideOfWork);
        let ctx = step.context().ok_or_else(outside)?;
        let slot = slot::<DB>(ctx)?.clone();
        let mut tx = slot.transaction().lock().await;
        let tx = tx.as_mut().ok_or_else(ended)?;
        self.activity.run(step, tx).await.map_err(judged)
    }
}
