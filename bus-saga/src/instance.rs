//! One instance: its state and data, and how these are stored.

use bus_core::{ConsumeError, ConsumeResult};
use uuid::Uuid;

use crate::error::SagaError;
use crate::meta::{Meta, VERSION};
use crate::repository::{Find, StoredInstance};
use crate::saga::{Saga, SagaState};

/// Instance of a saga while an event is handled.
#[derive(Debug)]
pub(crate) struct Instance<S: Saga> {
    pub(crate) id: Uuid,
    /// `None` before the first event.
    pub(crate) state: Option<S::State>,
    pub(crate) is_finished: bool,
    pub(crate) data: S,
    pub(crate) meta: Meta,
    /// The row from which it was read.
    loaded: Option<StoredInstance>,
}

impl<S: Saga> Instance<S> {
    pub(crate) fn new(id: Uuid) -> Self {
        Self {
            id,
            state: None,
            is_finished: false,
            data: S::default(),
            meta: Meta::default(),
            loaded: None,
        }
    }

    /// Reads a row of an instance that has not finished.
    ///
    /// # Errors
    /// A newer version, a state that is not known, or text that is not what it must be.
    pub(crate) fn read(row: StoredInstance) -> Result<Self, SagaError> {
        let (saga, id) = (S::NAME, row.id);
        let meta = read_meta(saga, &row)?;
        let name = row.state.as_deref().unwrap_or_default();
        let state = S::State::of_name(name).ok_or_else(|| SagaError::UnknownState {
            saga,
            id,
            state: name.to_owned(),
        })?;
        Ok(Self {
            id,
            state: Some(state),
            is_finished: false,
            data: read_data(&row)?,
            meta,
            loaded: Some(row),
        })
    }

    /// Returns the row with these keys, `None` if it is the one that was loaded.
    pub(crate) fn write(
        &self,
        keys: Vec<(String, String)>,
        find: &Find,
    ) -> ConsumeResult<Option<StoredInstance>> {
        let row = StoredInstance {
            id: self.id,
            revision: self.loaded.as_ref().map_or(0, |row| row.revision),
            state: self.stored_state(),
            data: self.json("data", &self.data)?,
            meta: self.json("meta", &self.meta)?,
            keys,
        };
        self.check_keys(&row, find)
            .map_err(ConsumeError::permanent)?;
        Ok((self.loaded.as_ref() != Some(&row)).then_some(row))
    }

    /// Returns the row as it was loaded, to be saved once more.
    pub(crate) fn loaded(&self) -> Option<&StoredInstance> {
        self.loaded.as_ref()
    }

    fn stored_state(&self) -> Option<String> {
        let state = self.state.filter(|_| !self.is_finished);
        state.map(|state| state.name().to_owned())
    }

    fn json(&self, part: &'static str, value: &impl serde::Serialize) -> ConsumeResult<String> {
        serde_json::to_string(value).map_err(|source| {
            ConsumeError::permanent(SagaError::Unreadable {
                saga: S::NAME,
                id: self.id,
                part,
                source,
            })
        })
    }

    /// Refuses a business key that has changed, or by which the instance was not found.
    fn check_keys(&self, row: &StoredInstance, find: &Find) -> Result<(), SagaError> {
        if self.is_finished {
            return Ok(());
        }
        let found = match find {
            Find::Key { name, value } => Some((name, value)),
            Find::Id(_) => None,
        };
        let before = self.loaded.iter().flat_map(|row| &row.keys);
        let before = before.map(|(name, value)| (name, value));
        for (name, value) in before.chain(found) {
            let now = row.keys.iter().find(|(known, _)| known == name);
            if now.map(|(_, value)| value) != Some(value) && !name.starts_with(REQUEST) {
                return Err(SagaError::KeyChanged {
                    saga: S::NAME,
                    id: self.id,
                    key: name.clone(),
                    before: value.clone(),
                    after: now.map_or("missing".to_owned(), |(_, value)| format!("`{value}`")),
                });
            }
        }
        Ok(())
    }
}

/// Begin of the names of requests, which are keys that come and go.
pub(crate) const REQUEST: &str = "request:";

fn read_meta(saga: &'static str, row: &StoredInstance) -> Result<Meta, SagaError> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    let unreadable = |source| SagaError::Unreadable {
        saga,
        id: row.id,
        part: "meta",
        source,
    };
    // Before the rest, as other versions may have other members.
    let Versioned { version } = serde_json::from_str(&row.meta).map_err(unreadable)?;
    if version > VERSION {
        return Err(SagaError::Newer {
            saga,
            id: row.id,
            version,
            readable: VERSION,
        });
    }
    serde_json::from_str(&row.meta).map_err(unreadable)
}

/// Reads the user's data of a row.
pub(crate) fn read_data<S: Saga>(row: &StoredInstance) -> Result<S, SagaError> {
    serde_json::from_str(&row.data).map_err(|source| SagaError::Unreadable {
        saga: S::NAME,
        id: row.id,
        part: "data",
        source,
    })
}
