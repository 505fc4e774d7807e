//! The two traits that a process implements: its data and its states.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Business data of one process, kept between its events.
///
/// Stored as JSON: a member that is added later has `#[serde(default)]`, so that rows from before
/// can be read. It holds business data only; tokens of timeouts, ids of requests and events that
/// wait are kept beside it.
///
/// ```
/// use bus_saga::{Saga, SagaState};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Order { number: String, total: u64 }
///
/// #[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)]
/// enum Stage { AwaitingPayment, AwaitingShipment }
///
/// impl Saga for Order {
///     type State = Stage;
///     const NAME: &'static str = "order";
/// }
/// ```
pub trait Saga: Default + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// States in which an instance waits for events.
    ///
    /// An instance that has not begun is in none of them, nor is one that has finished.
    type State: SagaState;

    /// Name under which the instances are stored.
    ///
    /// Another name would lose the instances that are stored.
    const NAME: &'static str;
}

/// States of a saga: an enum without data.
///
/// Derive it. A state is stored by its name, which is that of the variant, or the one that an
/// attribute gives: `#[state("AwaitingPayment")]` keeps the stored name of a variant that is
/// renamed.
///
/// ```
/// use bus_saga::SagaState;
///
/// #[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)]
/// enum Stage {
///     #[state("AwaitingPayment")]
///     Unpaid,
///     AwaitingShipment,
/// }
///
/// assert_eq!(Stage::Unpaid.name(), "AwaitingPayment");
/// assert_eq!(Stage::ALL.len(), 2);
/// ```
///
/// A state with data, or two of one name, do not compile:
///
/// ```compile_fail
/// # use bus_saga::SagaState;
/// #[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)]
/// enum Stage {
///     AwaitingPayment { since: u64 },
/// }
/// ```
///
/// ```compile_fail
/// # use bus_saga::SagaState;
/// #[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)]
/// enum Stage {
///     #[state("Paid")]
///     Open,
///     Paid,
/// }
/// ```
pub trait SagaState: Copy + Eq + fmt::Debug + Send + Sync + 'static {
    /// All states, in the order of their declaration.
    const ALL: &'static [Self];

    /// Returns the name under which the state is stored.
    fn name(self) -> &'static str;

    /// Returns the state of this name.
    fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.name() == name)
    }
}
