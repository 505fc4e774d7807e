//! Who did how much: counts what the services consume, on each machine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bus_core::observe::{Observer, PostReceive, PreReceive, ReceiveOutcome};
use samples::locked;

/// Counts by endpoint and by machine. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    endpoints: BTreeMap<String, Work>,
    machines: BTreeMap<u32, Machine>,
}

/// The deliveries of one machine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Machine {
    /// How many it works on now.
    pub(crate) under_way: usize,
    /// How many were begun, and cut by its death.
    pub(crate) cut: usize,
}

/// What one endpoint has done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work {
    /// How many deliveries were handled on each machine, duplicates included.
    pub(crate) by_machine: BTreeMap<u32, usize>,
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
    /// How many deliveries were handled, duplicates included.
    pub(crate) fn deliveries(&self) -> usize {
        self.by_machine.values().sum()
    }

    /// How many deliveries were handled, duplicates excluded.
    pub(crate) fn done(&self) -> usize {
        self.deliveries() - self.duplicates
    }
}

impl Tally {
    /// The observer of a machine, from 1.
    pub(crate) fn of_machine(&self, machine: u32) -> MachineTally {
        MachineTally {
            tally: self.clone(),
            machine,
        }
    }

    /// The deliveries of a machine.
    pub(crate) fn machine(&self, machine: u32) -> Machine {
        let counts = locked(&self.0);
        counts.machines.get(&machine).copied().unwrap_or_default()
    }

    /// How many deliveries were begun, and cut by the death of their machine.
    pub(crate) fn cut(&self) -> usize {
        locked(&self.0)
            .machines
            .values()
            .map(|machine| machine.cut)
            .sum()
    }

    /// What an endpoint has done.
    pub(crate) fn of(&self, endpoint: &str) -> Work {
        let counts = locked(&self.0);
        counts.endpoints.get(endpoint).cloned().unwrap_or_default()
    }

    /// What each endpoint has done.
    pub(crate) fn all(&self) -> BTreeMap<String, Work> {
        locked(&self.0).endpoints.clone()
    }
}

/// Counts for one machine.
#[derive(Debug)]
pub(crate) struct MachineTally {
    tally: Tally,
    machine: u32,
}

impl Observer for MachineTally {
    fn pre_receive(&self, _: &PreReceive<'_>) {
        let mut counts = locked(&self.tally.0);
        counts.machines.entry(self.machine).or_default().under_way += 1;
    }

    /// Called also where a delivery is cut, in an attempt or in the wait for the next one: it goes
    /// back to its queue.
    fn post_receive(&self, received: &PostReceive<'_>) {
        let mut counts = locked(&self.tally.0);
        let work = counts
            .endpoints
            .entry(received.endpoint.to_owned())
            .or_default();
        // The attempt that finds a duplicate counts as none: all those before it have failed.
        work.retries += match received.outcome {
            ReceiveOutcome::Duplicate => received.attempts,
            _ => received.attempts.saturating_sub(1),
        } as usize;
        let mut is_cut = false;
        match received.outcome {
            ReceiveOutcome::Handled => *work.by_machine.entry(self.machine).or_default() += 1,
            ReceiveOutcome::Duplicate => {
                *work.by_machine.entry(self.machine).or_default() += 1;
                work.duplicates += 1;
            }
            ReceiveOutcome::Faulted(error) => {
                work.faults += 1;
                work.first_fault.get_or_insert_with(|| error.to_string());
            }
            ReceiveOutcome::Requeued(_) => is_cut = true,
            _ => {}
        }
        let machine = counts.machines.entry(self.machine).or_default();
        machine.under_way -= 1;
        machine.cut += usize::from(is_cut);
    }
}
