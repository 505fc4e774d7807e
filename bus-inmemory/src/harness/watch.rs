//! Quiescence: nothing in flight, known by counting.

use std::sync::Arc;
use std::time::Duration;

use super::in_flight::{InFlight, NotQuiescent};
use super::journal::Recorder;
use super::working::Workers;
use crate::broker::{Broker, State};

/// View of a harness on its broker and its records.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    pub(super) journal: Recorder,
    pub(super) workers: Arc<Workers>,
    pub(super) timeout: Duration,
    broker: Arc<Broker>,
}

impl Watch {
    pub(super) fn new(broker: &Arc<Broker>, journal: Recorder, timeout: Duration) -> Self {
        Self {
            journal,
            workers: Arc::default(),
            timeout,
            broker: Arc::clone(broker),
        }
    }

    pub(super) async fn quiescent(&self) -> Result<(), NotQuiescent> {
        let quiet = async {
            loop {
                // Created before looking: an end that comes in between is not missed.
                let broker_idle = self.broker.idle().notified();
                let workers_idle = self.workers.idle().notified();
                if self.is_quiescent() {
                    return;
                }
                tokio::select! {
                    () = broker_idle => {}
                    () = workers_idle => {}
                }
            }
        };
        let quiet = tokio::time::timeout(self.timeout, quiet).await;
        quiet.map_err(|_| NotQuiescent {
            after: self.timeout,
            in_flight: self.in_flight(),
        })
    }

    fn is_quiescent(&self) -> bool {
        let settled = self.broker.with(|state| {
            // A test that advances the clock expects what is due to have happened, before the timer
            // had its turn.
            state.run_due();
            state.flow.in_flight == 0
        });
        settled && self.workers.is_idle()
    }

    pub(super) fn in_flight(&self) -> Vec<InFlight> {
        let mut in_flight = self.broker.with(|state| held(state));
        // A consumer's delivery is in both lists, unless it was acknowledged first.
        for running in self.workers.deliveries() {
            if !in_flight.contains(&running) {
                in_flight.push(running);
            }
        }
        in_flight
    }
}

fn held(state: &State) -> Vec<InFlight> {
    let mut held = Vec::new();
    for queue in state.queues.values() {
        for consumer in queue.consumers.iter() {
            let pulled = consumer.unsettled().map(|entry| (entry, true));
            let waiting = consumer.buffered().map(|entry| (entry, false));
            held.extend(pulled.chain(waiting).map(|(entry, pulled)| {
                InFlight::delivery(&queue.name, &entry.message.content, pulled)
            }));
        }
    }
    held
}
