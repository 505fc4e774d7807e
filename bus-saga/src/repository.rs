//! The seam to the place where instances are kept.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bus_core::consume::UnitOfWork;
use bus_core::error::BoxError;
use bus_core::transport::ScheduleToken;
use bus_core::{ConsumeContext, ConsumeResult};
use uuid::Uuid;

/// Repository of the instances of sagas.
///
/// It brings a [`UnitOfWork`]: each attempt at an event runs in one, loads its instance once, and
/// saves it at most once.
///
/// | must hold | else |
/// |---|---|
/// | what is saved counts if the unit commits, with the messages of the attempt; nothing of it stays otherwise | a failed attempt changes the state |
/// | [`load`](Self::load) returns what the last committed unit has saved | an update is lost |
/// | if another unit has saved the instance since it was loaded, `save` or the commit fails with [`ConsumeError::conflict`](bus_core::ConsumeError::conflict) | an update is lost |
/// | the same if two units save a new instance with one id | an instance is lost |
/// | two instances of a saga that have not finished never have one key; `save` or the commit fails with [`SagaError::KeyTaken`](crate::SagaError::KeyTaken), or as a conflict if the other one is new | an event finds the wrong instance |
/// | a finished instance is found for a while, by its id and by keys that no other one has taken | a late event begins another one |
///
/// A conflict runs the attempt again, from the load on, and counts as no failure. A repository may
/// lock the instance from the load to the end of the unit, so that conflicts are rare; it must not
/// lock others with it.
///
/// Implemented by [`MemorySagas`](crate::MemorySagas), and for SQL by `bus-sql`. One that adds to
/// another:
///
/// ```
/// use std::sync::Arc;
/// use bus_core::consume::UnitOfWork;
/// use bus_core::error::BoxError;
/// use bus_core::transport::ScheduleToken;
/// use bus_core::{ConsumeContext, ConsumeResult, async_trait};
/// use bus_saga::{Find, SagaRepository, StoredInstance};
///
/// /// Prints each new state of an instance.
/// #[derive(Debug)]
/// struct Printing<R>(R);
///
/// #[async_trait]
/// impl<R: SagaRepository> SagaRepository for Printing<R> {
///     fn unit_of_work(&self) -> Arc<dyn UnitOfWork> {
///         self.0.unit_of_work()
///     }
///
///     fn keeps_until_due(&self) -> bool {
///         self.0.keeps_until_due()
///     }
///
///     async fn load(&self, ctx: &ConsumeContext, saga: &str, find: &Find) -> ConsumeResult<Option<StoredInstance>> {
///         self.0.load(ctx, saga, find).await
///     }
///
///     async fn save(&self, ctx: &ConsumeContext, saga: &str, instance: StoredInstance) -> ConsumeResult {
///         println!("{saga} {}: {:?}", instance.id, instance.state);
///         self.0.save(ctx, saga, instance).await
///     }
///
///     async fn cancel(&self, ctx: &ConsumeContext, token: ScheduleToken) -> ConsumeResult {
///         self.0.cancel(ctx, token).await
///     }
///
///     async fn read(&self, saga: &str, find: &Find) -> Result<Option<StoredInstance>, BoxError> {
///         self.0.read(saga, find).await
///     }
/// }
/// ```
#[async_trait]
pub trait SagaRepository: Send + Sync + fmt::Debug + 'static {
    /// Returns the unit of work of each attempt.
    fn unit_of_work(&self) -> Arc<dyn UnitOfWork>;

    /// Returns `true` if the unit of work keeps messages until they are due.
    ///
    /// Timeouts then need no transport that can delay messages. Default: `false`.
    fn keeps_until_due(&self) -> bool {
        false
    }

    /// Loads an instance in the unit of work of `ctx`; `None` if there is none.
    ///
    /// # Errors
    /// That of the store, which ends the attempt.
    async fn load(
        &self,
        ctx: &ConsumeContext,
        saga: &str,
        find: &Find,
    ) -> ConsumeResult<Option<StoredInstance>>;

    /// Saves an instance in the unit of work of `ctx`.
    ///
    /// Its [`revision`](StoredInstance::revision) is the one that was loaded, 0 for a new instance;
    /// the repository counts it up. Keys that it had before and has no more are forgotten.
    ///
    /// # Errors
    /// A conflict, a key that is taken, or that of the store.
    async fn save(
        &self,
        ctx: &ConsumeContext,
        saga: &str,
        instance: StoredInstance,
    ) -> ConsumeResult;

    /// Cancels a timeout that is no longer wanted, in the unit of work of `ctx`.
    ///
    /// A saga ignores a timeout that it has cancelled, so this only saves a message. Default: does
    /// nothing.
    ///
    /// # Errors
    /// That of the store.
    async fn cancel(&self, ctx: &ConsumeContext, token: ScheduleToken) -> ConsumeResult {
        let _ = (ctx, token);
        Ok(())
    }

    /// Reads what is committed of an instance, outside of any unit of work.
    ///
    /// # Errors
    /// That of the store.
    async fn read(&self, saga: &str, find: &Find) -> Result<Option<StoredInstance>, BoxError>;
}

#[async_trait]
impl<R: SagaRepository + ?Sized> SagaRepository for Arc<R> {
    fn unit_of_work(&self) -> Arc<dyn UnitOfWork> {
        (**self).unit_of_work()
    }

    fn keeps_until_due(&self) -> bool {
        (**self).keeps_until_due()
    }

    async fn load(
        &self,
        ctx: &ConsumeContext,
        saga: &str,
        find: &Find,
    ) -> ConsumeResult<Option<StoredInstance>> {
        (**self).load(ctx, saga, find).await
    }

    async fn save(
        &self,
        ctx: &ConsumeContext,
        saga: &str,
        instance: StoredInstance,
    ) -> ConsumeResult {
        (**self).save(ctx, saga, instance).await
    }

    async fn cancel(&self, ctx: &ConsumeContext, token: ScheduleToken) -> ConsumeResult {
        (**self).cancel(ctx, token).await
    }

    async fn read(&self, saga: &str, find: &Find) -> Result<Option<StoredInstance>, BoxError> {
        (**self).read(saga, find).await
    }
}

/// Name of an instance: its id, or a business key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Find {
    /// Id of the instance.
    Id(Uuid),
    /// Business key, which one instance of a saga has at most.
    Key {
        /// Name of the key.
        name: String,
        /// Its value.
        value: String,
    },
}

impl Find {
    /// Returns the id of the instance that an event begins.
    ///
    /// The same each time, so that two events that begin one instance collide.
    pub(crate) fn new_id(&self, saga: &str) -> Uuid {
        match self {
            Self::Id(id) => *id,
            Self::Key { name, value } => {
                let text = [saga, name, value].join("\0");
                Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes())
            }
        }
    }
}

impl fmt::Display for Find {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Key { name, value } => write!(f, "with {name} `{value}`"),
        }
    }
}

/// Instance of a saga as a repository keeps it: a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredInstance {
    /// Id, unique for its saga.
    pub id: Uuid,
    /// Number of times that it was saved; 0 for a new one.
    pub revision: u64,
    /// Name of the state; `None` once it has finished.
    pub state: Option<String>,
    /// Business data, as JSON.
    pub data: String,
    /// Timeouts, requests and waiting events, as JSON with a version.
    pub meta: String,
    /// Business keys and pending requests: names with values.
    pub keys: Vec<(String, String)>,
}
