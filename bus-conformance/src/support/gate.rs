//! Gate at which consumers wait until the test lets them go on.

use std::sync::Arc;

use tokio::sync::watch;

use super::wait::within;

/// Consumers pass it once it is open; the test sees how many stand before it.
#[derive(Clone, Debug)]
pub struct Gate {
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    open: bool,
    waiting: usize,
    most: usize,
}

impl Gate {
    /// Creates a gate that holds every consumer.
    pub fn closed() -> Self {
        Self {
            state: Arc::new(watch::Sender::new(State::default())),
        }
    }

    /// Waits until the gate is open.
    pub async fn pass(&self) {
        let _here = Presence::enter(self);
        let mut state = self.state.subscribe();
        // The sender lives as long as `self`.
        let _ = state.wait_for(|state| state.open).await;
    }

    /// Lets all consumers pass, now and from now on.
    pub fn open(&self) {
        self.state.send_modify(|state| state.open = true);
    }

    /// Waits until exactly `count` consumers are at the gate.
    pub async fn holds(&self, count: usize) {
        let mut state = self.state.subscribe();
        let arrived = state.wait_for(|state| state.waiting == count);
        let outcome = within(&format!("{count} consumers at the gate"), arrived).await;
        drop(outcome);
    }

    /// Returns the number of consumers at the gate now.
    pub fn waiting(&self) -> usize {
        self.state.borrow().waiting
    }

    /// Returns the largest number of consumers that were at the gate at once.
    pub fn most(&self) -> usize {
        self.state.borrow().most
    }
}

/// One consumer at the gate; counted out also when its future is dropped.
struct Presence<'a>(&'a Gate);

impl<'a> Presence<'a> {
    fn enter(gate: &'a Gate) -> Self {
        gate.state.send_modify(|state| {
            state.waiting += 1;
            state.most = state.most.max(state.waiting);
        });
        Self(gate)
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| state.waiting -= 1);
    }
}
