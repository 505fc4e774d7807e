//! Who did how much: counts what the instances of the services consume.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bus_core::observe::{Observer, PostReceive, ReceiveOutcome};
use samples::locked;

/// Counts by endpoint and instance. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Arc<Mutex<BTreeMap<String, Work>>>);

/// What one endpoint has done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work {
    /// How many deliveries each instance handled, duplicates included.
    pub(crate) by_instance: BTreeMap<u32, usize>,
    /// How many of them had been handled before, and were not again.
    pub(crate) duplicates: usize,
    /// How often it tried again.
    pub(crate) retries: usize,
    /// How many failed for good.
    pub(crate) faults: usize,
    /// Why the first of them did.
    pub(crate) first_fault: Option<String>,
}

impl Work {
    /// How many deliveries were handled, duplicates excluded.
    pub(crate) fn done(&self) -> usize {
        self.by_instance.values().sum::<usize>() - self.duplicates
    }
}

impl Tally {
    /// The observer of one instance, from 1.
    pub(crate) fn of_instance(&self, instance: u32) -> InstanceTally {
        InstanceTally {
            tally: self.clone(),
            instance,
        }
    }

    /// What an endpoint has done.
    pub(crate) fn of(&self, endpoint: &str) -> Work {
        locked(&self.0).get(endpoint).cloned().unwrap_or_default()
    }

    /// What each endpoint has done.
    pub(crate) fn all(&self) -> BTreeMap<String, Work> {
        locked(&self.0).clone()
    }
}

/// Counts for one instance.
#[derive(Debug)]
pub(crate) struct InstanceTally {
    tally: Tally,
    instance: u32,
}

impl InstanceTally {
    fn count(&self, received: &PostReceive<'_>, count: impl FnOnce(&mut Work)) {
        let mut work = locked(&self.tally.0);
        let work = work.entry(received.endpoint.to_owned()).or_default();
        work.retries += received.attempts.saturating_sub(1) as usize;
        count(work);
    }
}

impl Observer for InstanceTally {
    fn post_receive(&self, received: &PostReceive<'_>) {
        match received.outcome {
            ReceiveOutcome::Handled | ReceiveOutcome::Duplicate => self.count(received, |work| {
                *work.by_instance.entry(self.instance).or_default() += 1;
                let is_duplicate = matches!(received.outcome, ReceiveOutcome::Duplicate);
                work.duplicates += usize::from(is_duplicate);
            }),
            ReceiveOutcome::Faulted(error) => self.count(received, |work| {
                work.faults += 1;
                work.first_fault.get_or_insert_with(|| error.to_string());
            }),
            _ => {}
        }
    }
}
