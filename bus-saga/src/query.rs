//! The present state of instances, for those who ask.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bus_core::error::BoxError;
use uuid::Uuid;

use crate::error::SagaError;
use crate::instance::read_data;
use crate::repository::{Find, SagaRepository, StoredInstance};
use crate::saga::{Saga, SagaState};

/// Reads instances of the saga `S`, outside of any event.
///
/// It sees what is committed. A service that other services ask declares an event for it instead,
/// which responds and stays.
///
/// ```
/// use bus_saga::{MemorySagas, Sagas};
/// # use bus_saga::{Saga, SagaState};
/// # use serde::{Deserialize, Serialize};
/// # use uuid::Uuid;
/// # #[derive(Default, Serialize, Deserialize)] struct Order { total: u64 }
/// # #[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)] enum Stage { Unpaid }
/// # impl Saga for Order { type State = Stage; const NAME: &'static str = "order"; }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let repository = MemorySagas::new(); // the one of the endpoint
/// let orders = Sagas::<Order>::of(repository.clone());
/// if let Some(order) = orders.find(Uuid::now_v7()).await? {
///     println!("{:?}: {} cents", order.state, order.data.total);
/// }
/// # Ok(()) }
/// ```
pub struct Sagas<S> {
    repository: Arc<dyn SagaRepository>,
    saga: PhantomData<fn(S)>,
}

/// Instance of a saga as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot<S: Saga> {
    /// Id of the instance.
    pub id: Uuid,
    /// Its state; `None` once it has finished.
    pub state: Option<S::State>,
    /// Its data; once it has finished, as it was in the end.
    pub data: S,
    /// Number of times that it was saved.
    pub revision: u64,
}

impl<S: Saga> Sagas<S> {
    /// Creates a reader of a repository.
    pub fn of(repository: impl SagaRepository) -> Self {
        Self {
            repository: Arc::new(repository),
            saga: PhantomData,
        }
    }

    /// Reads an instance by its id.
    ///
    /// # Errors
    /// That of the repository, or a [`SagaError`] for an instance that cannot be read.
    pub async fn find(&self, id: Uuid) -> Result<Option<Snapshot<S>>, BoxError> {
        self.read(&Find::Id(id)).await
    }

    /// Reads an instance by a business key.
    ///
    /// # Errors
    /// That of the repository, or a [`SagaError`] for an instance that cannot be read.
    pub async fn find_by(&self, key: &str, value: &str) -> Result<Option<Snapshot<S>>, BoxError> {
        let (name, value) = (key.to_owned(), value.to_owned());
        self.read(&Find::Key { name, value }).await
    }

    async fn read(&self, find: &Find) -> Result<Option<Snapshot<S>>, BoxError> {
        let row = self.repository.read(S::NAME, find).await?;
        Ok(row.as_ref().map(snapshot).transpose()?)
    }
}

fn snapshot<S: Saga>(row: &StoredInstance) -> Result<Snapshot<S>, SagaError> {
    let state = row.state.as_deref().map(|name| {
        S::State::of_name(name).ok_or_else(|| SagaError::UnknownState {
            saga: S::NAME,
            id: row.id,
            state: name.to_owned(),
        })
    });
    Ok(Snapshot {
        id: row.id,
        state: state.transpose()?,
        data: read_data(row)?,
        revision: row.revision,
    })
}

impl<S> Clone for Sagas<S> {
    fn clone(&self) -> Self {
        Self {
            repository: Arc::clone(&self.repository),
            saga: PhantomData,
        }
    }
}

impl<S> fmt::Debug for Sagas<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sagas").field(&self.repository).finish()
    }
}
