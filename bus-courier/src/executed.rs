//! Outcomes of activities.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::builder::Itinerary;
use crate::error::SlipError;
use crate::values::Values;

/// Outcome of an activity that has succeeded.
///
/// A failure is an `Err` of the activity instead.
///
/// ```
/// use bus_courier::{Executed, Itinerary, NoLog};
///
/// let done: Executed<NoLog> = Executed::done().variable("paid", &true);
/// let revised: Executed<NoLog> =
///     Executed::done().revise(Itinerary::new().activity("Inspect", "queue:inspect_execute", &()));
/// # let _ = (done, revised);
/// ```
#[derive(Debug)]
#[must_use = "return it from the activity"]
pub struct Executed<L> {
    pub(crate) log: Option<L>,
    pub(crate) variables: Variables,
    pub(crate) course: Course,
}

/// Course of a slip after an activity.
#[derive(Debug)]
pub(crate) enum Course {
    Goes,
    Terminates,
    Revised(Itinerary),
}

impl<L> Executed<L> {
    /// Creates the outcome of an activity that needs no compensation.
    pub fn done() -> Self {
        Self::new(None, Course::Goes)
    }

    /// Creates the outcome of an activity that is compensated with this log.
    pub fn with_log(log: L) -> Self {
        Self::new(Some(log), Course::Goes)
    }

    /// Creates the outcome of an activity that ends the slip: none follows it.
    ///
    /// That is no failure, and nothing is compensated.
    pub fn terminate() -> Self {
        Self::new(None, Course::Terminates)
    }

    fn new(log: Option<L>, course: Course) -> Self {
        Self {
            log,
            variables: Variables::default(),
            course,
        }
    }

    /// Sets a variable of the slip; `null` removes it.
    ///
    /// A value that cannot be written as JSON fails the attempt.
    pub fn variable(mut self, name: impl Into<String>, value: &(impl Serialize + ?Sized)) -> Self {
        self.variables.set(name.into(), value);
        self
    }

    /// Replaces the activities that remain.
    ///
    /// [`Execute::remaining`](crate::Execute::remaining) has the present ones.
    pub fn revise(mut self, itinerary: Itinerary) -> Self {
        self.course = Course::Revised(itinerary);
        self
    }
}

/// Outcome of a compensation that has succeeded.
#[derive(Debug, Default)]
#[must_use = "return it from the activity"]
pub struct Compensated {
    pub(crate) variables: Variables,
}

impl Compensated {
    /// Creates the outcome.
    pub fn done() -> Self {
        Self::default()
    }

    /// Sets a variable of the slip; `null` removes it.
    ///
    /// A value that cannot be written as JSON fails the attempt.
    pub fn variable(mut self, name: impl Into<String>, value: &(impl Serialize + ?Sized)) -> Self {
        self.variables.set(name.into(), value);
        self
    }
}

/// Variables that an activity sets, in order, or the first that cannot be written.
#[derive(Debug, Default)]
pub(crate) struct Variables {
    set: Vec<(String, Box<RawValue>)>,
    mistake: Option<SlipError>,
}

impl Variables {
    fn set(&mut self, name: String, value: &(impl Serialize + ?Sized)) {
        match to_raw_value(value) {
            Ok(value) => self.set.push((name, value)),
            Err(source) => {
                let mistake = SlipError::WriteVariable { name, source };
                self.mistake.get_or_insert(mistake);
            }
        }
    }

    /// Sets them in the variables of the slip.
    pub(crate) fn apply(self, variables: &mut Values) -> Result<(), SlipError> {
        for (name, value) in self.set {
            variables.put(name, value);
        }
        self.mistake.map_or(Ok(()), Err)
    }
}
