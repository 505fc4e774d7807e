//! Pauses of an endpoint that are asked for while it runs, and their end.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;

use super::runner::EndpointRunner;
use crate::consume::{Pause, Wish};
use crate::transport::Backoff;

/// First wait before an endpoint that could not resume tries again.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Does what the control of an endpoint asks for, until the endpoint stops.
pub(crate) fn obey(runner: &Arc<EndpointRunner>) {
    let wishes = runner.control().wishes();
    let stopped = runner.stopped();
    let runner = Arc::downgrade(runner);
    tokio::spawn(async move {
        tokio::select! {
            () = stopped => {}
            () = follow(&runner, wishes) => {}
        }
    });
}

async fn follow(runner: &Weak<EndpointRunner>, mut wishes: watch::Receiver<Wish>) {
    loop {
        let wish = wishes.borrow_and_update().clone();
        let Some(runner) = runner.upgrade() else {
            return;
        };
        // A change of the reason is no change of the phase.
        runner.health();
        let fulfilled = async {
            match &wish {
                Wish::Run => drop(runner),
                Wish::Pause(pause) => rest(runner, &wish, pause).await,
                Wish::Resume => wake(&runner, &wish).await,
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            changed = wishes.changed() => if changed.is_err() {
                return;
            },
            () = fulfilled => {}
        }
    }
}

/// Pauses, and asks to resume when the pause is over.
async fn rest(runner: Arc<EndpointRunner>, wish: &Wish, pause: &Pause) {
    let control = Arc::clone(runner.control());
    // Consumers that run need not have ended when the pause is over, or extended.
    tokio::spawn(async move { runner.leave_if_asked().await });
    pause.over().await;
    control.replace(wish, Wish::Resume);
}

/// Resumes, and tries again until that has worked.
async fn wake(runner: &Arc<EndpointRunner>, wish: &Wish) {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    while let Err(error) = runner.go_on().await {
        tracing::warn!(endpoint = runner.name(), %error, "the endpoint cannot be resumed yet");
        runner.set_back(&error);
        backoff.wait().await;
    }
    runner.control().replace(wish, Wish::Run);
}
