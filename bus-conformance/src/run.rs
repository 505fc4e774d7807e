//! From the lists of behaviours to tests.

use std::future::Future;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::time::Duration;

use bus_core::transport::{Capabilities, Capability};

use crate::support::Outcome;
use crate::test_broker::TestBroker;

/// Longest time that a behaviour may take.
const DEADLINE: Duration = Duration::from_secs(180);

/// One entry of a list.
#[derive(Debug)]
pub struct Behaviour {
    /// Name of its function, and of the test.
    pub name: &'static str,
    /// Capabilities without which it cannot be shown.
    pub needs: &'static [Capability],
    /// The function.
    pub run: for<'a> fn(&'a dyn TestBroker) -> Running<'a>,
}

/// A behaviour that runs.
pub type Running<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// The name of a theme, and its list.
pub type Theme = (&'static str, &'static [Behaviour]);

impl Behaviour {
    /// Returns what it needs of what is not claimed.
    fn missing(&self, claimed: Capabilities) -> Vec<Capability> {
        let needs = self.needs.iter().copied();
        needs.filter(|need| !claimed.has(*need)).collect()
    }
}

/// Runs one behaviour of a theme, or says that the transport does not claim what it
/// needs.
///
/// # Panics
/// If it fails or takes too long.
pub fn run<S: TestBroker>((theme, list): Theme, name: &str, broker: impl Future<Output = S>) {
    let behaviour = list.iter().find(|behaviour| behaviour.name == name);
    let behaviour = behaviour.expect("tests are made of lists");
    block_on(async {
        let broker = broker.await;
        let missing = behaviour.missing(broker.transport().capabilities());
        if missing.is_empty() {
            pass(&format!("{theme}::{name}"), (behaviour.run)(&broker)).await;
        } else {
            report(&format!("not claimed: {theme}::{name} needs {missing:?}"));
        }
    });
}

/// Prints how many behaviours are tested, and how many cannot be.
pub fn summarize<S: TestBroker>(
    transport: &str,
    themes: &[Theme],
    broker: impl Future<Output = S>,
) {
    let claimed = block_on(async { broker.await.transport().capabilities() });
    let behaviours = || themes.iter().flat_map(|(_, list)| *list);
    let tested = behaviours().filter(|behaviour| behaviour.missing(claimed).is_empty());
    let (tested, all) = (tested.count(), behaviours().count());
    report(&format!(
        "conformance of {transport}: {tested} behaviours claimed and tested, {} not claimed",
        all - tested
    ));
}

/// Awaits a behaviour.
///
/// # Panics
/// If it fails or takes too long.
pub(crate) async fn pass(name: &str, behaviour: impl Future<Output = Outcome>) {
    let outcome = tokio::time::timeout(DEADLINE, behaviour)
        .await
        .unwrap_or_else(|_| panic!("`{name}` was not through in {DEADLINE:?}"));
    if let Err(failure) = outcome {
        panic!("`{name}` failed at {failure:?}");
    }
}

/// Runs a test of its own, on a runtime that another test shares no worker with.
pub(crate) fn block_on<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test)
}

/// Prints a line that the test harness does not capture.
fn report(line: &str) {
    // Nothing depends on the line.
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_behaviour_needs_must_be_claimed() {
        let behaviour = Behaviour {
            name: "urgent_and_brief",
            needs: &[Capability::Priorities, Capability::MessageTtl],
            run: |_| Box::pin(async { Ok(()) }),
        };
        let priorities = Capabilities::of(&[Capability::Priorities]);
        assert_eq!(behaviour.missing(Capabilities::NONE), behaviour.needs);
        assert_eq!(behaviour.missing(priorities), [Capability::MessageTtl]);
        let all = Capabilities::of(behaviour.needs);
        assert!(behaviour.missing(all).is_empty());
    }
}
