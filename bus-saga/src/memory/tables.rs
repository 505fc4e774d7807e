//! The instances in memory, as tables.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use crate::error::SagaError;
use crate::repository::{Find, StoredInstance};

/// Lock of one instance.
pub(super) type Lock = Arc<Mutex<()>>;

type RowKey = (String, Uuid);

/// Instances, their keys and their locks.
#[derive(Debug)]
pub(super) struct Tables {
    rows: HashMap<RowKey, StoredInstance>,
    /// Ids by saga, name and value.
    keys: HashMap<(String, String, String), Uuid>,
    locks: HashMap<RowKey, Lock>,
    /// Instances that have finished, in the order of their end.
    finished: VecDeque<(Instant, RowKey)>,
    remember: Duration,
}

/// Reason for which nothing was saved.
#[derive(Debug)]
pub(super) enum Refusal {
    Conflict,
    Taken(SagaError),
}

impl Tables {
    pub(super) fn new(remember: Duration) -> Self {
        Self {
            rows: HashMap::new(),
            keys: HashMap::new(),
            locks: HashMap::new(),
            finished: VecDeque::new(),
            remember,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.values().filter(|row| row.state.is_some()).count()
    }

    /// Returns the id of an instance, which need not be there if it is named by its id.
    pub(super) fn id_of(&self, saga: &str, find: &Find) -> Option<Uuid> {
        match find {
            Find::Id(id) => Some(*id),
            Find::Key { name, value } => {
                let key = (saga.to_owned(), name.clone(), value.clone());
                self.keys.get(&key).copied()
            }
        }
    }

    pub(super) fn row(&self, saga: &str, id: Uuid) -> Option<StoredInstance> {
        self.rows.get(&(saga.to_owned(), id)).cloned()
    }

    pub(super) fn lock(&mut self, saga: &str, id: Uuid) -> Lock {
        let lock = self.locks.entry((saga.to_owned(), id)).or_default();
        Arc::clone(lock)
    }

    /// Forgets a lock that nothing holds, and nothing waits for.
    pub(super) fn unlock(&mut self, saga: &str, id: Uuid) {
        let key = (saga.to_owned(), id);
        let is_free = |lock: &Lock| Arc::strong_count(lock) == 1;
        if self.locks.get(&key).is_some_and(is_free) {
            self.locks.remove(&key);
        }
    }

    /// Saves all changes, or none of them.
    pub(super) fn save(&mut self, changes: Vec<(String, StoredInstance)>) -> Result<(), Refusal> {
        for (saga, row) in &changes {
            self.check(saga, row)?;
        }
        for (saga, row) in changes {
            self.write(saga, row);
        }
        self.forget();
        Ok(())
    }

    fn check(&self, saga: &str, row: &StoredInstance) -> Result<(), Refusal> {
        let before = self.rows.get(&(saga.to_owned(), row.id));
        if before.map_or(0, |before| before.revision) != row.revision {
            return Err(Refusal::Conflict);
        }
        for (name, value) in &row.keys {
            let key = (saga.to_owned(), name.clone(), value.clone());
            if self
                .keys
                .get(&key)
                .is_some_and(|owner| *owner != row.id && self.is_live(saga, *owner))
            {
                return Err(Refusal::Taken(SagaError::KeyTaken {
                    saga: saga.to_owned(),
                    id: row.id,
                    key: name.clone(),
                    value: value.clone(),
                }));
            }
        }
        Ok(())
    }

    fn is_live(&self, saga: &str, id: Uuid) -> bool {
        let row = self.rows.get(&(saga.to_owned(), id));
        row.is_some_and(|row| row.state.is_some())
    }

    fn write(&mut self, saga: String, mut row: StoredInstance) {
        let key = (saga, row.id);
        if let Some(before) = self.rows.remove(&key) {
            self.drop_keys(&key, &before);
        }
        for (name, value) in &row.keys {
            let new = (key.0.clone(), name.clone(), value.clone());
            self.keys.insert(new, row.id);
        }
        row.revision += 1;
        if row.state.is_none() {
            self.finished.push_back((Instant::now(), key.clone()));
        }
        self.rows.insert(key, row);
    }

    /// Forgets what has finished long ago.
    fn forget(&mut self) {
        while let Some((end, _)) = self.finished.front() {
            if end.elapsed() < self.remember {
                break;
            }
            let row = self.finished.pop_front().map(|(_, key)| key);
            let row = row.and_then(|key| self.rows.remove_entry(&key));
            if let Some((key, row)) = row {
                self.drop_keys(&key, &row);
            }
        }
    }

    /// Drops the keys that are still those of the row.
    fn drop_keys(&mut self, (saga, id): &RowKey, row: &StoredInstance) {
        for (name, value) in &row.keys {
            let key = (saga.clone(), name.clone(), value.clone());
            if self.keys.get(&key) == Some(id) {
                self.keys.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: Uuid, revision: u64, state: Option<&str>, key: Option<&str>) -> StoredInstance {
        StoredInstance {
            id,
            revision,
            state: state.map(str::to_owned),
            data: "{}".to_owned(),
            meta: String::new(),
            keys: key
                .map(|value| ("number".to_owned(), value.to_owned()))
                .into_iter()
                .collect(),
        }
    }

    fn save(tables: &mut Tables, row: StoredInstance) -> Result<(), Refusal> {
        tables.save(vec![("order".to_owned(), row)])
    }

    #[test]
    fn an_older_revision_is_a_conflict() {
        let mut tables = Tables::new(Duration::from_secs(60));
        let id = Uuid::now_v7();
        save(&mut tables, row(id, 0, Some("Open"), None)).expect("a new row");
        let again = save(&mut tables, row(id, 0, Some("Open"), None));
        assert!(matches!(again, Err(Refusal::Conflict)));
        save(&mut tables, row(id, 1, Some("Open"), None)).expect("the next revision");
        assert_eq!(tables.row("order", id).map(|row| row.revision), Some(2));
        assert_eq!(tables.row("invoice", id), None);
    }

    #[test]
    fn a_key_belongs_to_one_instance_until_it_has_finished() {
        let mut tables = Tables::new(Duration::from_secs(60));
        let find = Find::Key {
            name: "number".to_owned(),
            value: "A-7".to_owned(),
        };
        let [one, other] = [Uuid::now_v7(), Uuid::now_v7()];
        save(&mut tables, row(one, 0, Some("Open"), Some("A-7"))).expect("a new row");
        let taken = save(&mut tables, row(other, 0, Some("Open"), Some("A-7")));
        assert!(matches!(taken, Err(Refusal::Taken(_))));
        assert_eq!(tables.row("order", other), None);
        save(&mut tables, row(one, 1, None, Some("A-7"))).expect("the end");
        assert_eq!(
            tables.id_of("order", &find),
            Some(one),
            "late events find it"
        );
        save(&mut tables, row(other, 0, Some("Open"), Some("A-7"))).expect("the key is free");
        assert_eq!(tables.id_of("order", &find), Some(other));
        assert_eq!(tables.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_finished_is_forgotten_after_a_while() {
        let mut tables = Tables::new(Duration::from_secs(60));
        let [one, other] = [Uuid::now_v7(), Uuid::now_v7()];
        save(&mut tables, row(one, 0, None, None)).expect("an end");
        tokio::time::advance(Duration::from_secs(59)).await;
        save(&mut tables, row(other, 0, None, None)).expect("another end");
        assert!(tables.row("order", one).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        save(&mut tables, row(Uuid::now_v7(), 0, Some("Open"), None)).expect("a new row");
        assert_eq!(tables.row("order", one), None);
        assert!(tables.row("order", other).is_some());
    }
}
