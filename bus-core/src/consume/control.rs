//! Control of an endpoint from inside: its limits, and the wish that it pauses.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::limits::{Current, Limits};
use super::pause::{Cause, Pause, Wish};
use super::slots::Slots;
use crate::error::LimitError;
use crate::flow::{Pace, RateLimit, Trip};

/// Control of one endpoint that never waits, also for those that run inside of it.
///
/// For consumers, and for middleware such as a breaker. It does not keep the bus alive; once the
/// bus has stopped, its calls change nothing. [`EndpointHandle`](crate::EndpointHandle) has what
/// waits.
///
/// ```
/// use std::time::Duration;
/// use bus_core::{ConsumeContext, ConsumeResult, Middleware, Next, async_trait};
///
/// /// Lets the endpoint rest for a minute after each failure.
/// struct Rest;
///
/// #[async_trait]
/// impl Middleware for Rest {
///     async fn handle(&self, ctx: ConsumeContext, next: Next) -> ConsumeResult {
///         let control = ctx.endpoint_control().by("Rest");
///         next.run(ctx).await.inspect_err(|_| control.pause_for(Duration::from_secs(60)))
///     }
/// }
/// ```
#[derive(Clone)]
pub struct EndpointControl {
    control: Arc<Control>,
    by: Option<Arc<str>>,
}

/// State of an endpoint that is set from outside of its runner.
#[derive(Debug)]
pub(crate) struct Control {
    name: String,
    slots: Arc<Slots>,
    limits: Mutex<Current>,
    pace: Pace,
    wish: watch::Sender<Wish>,
}

impl EndpointControl {
    pub(crate) fn new(control: Arc<Control>) -> Self {
        Self { control, by: None }
    }

    /// Returns this control with the name of what pauses the endpoint.
    ///
    /// The endpoint's health has it in its reason: `paused by …`.
    #[must_use]
    pub fn by(self, name: impl Into<String>) -> Self {
        let by = Some(name.into().into());
        Self { by, ..self }
    }

    /// Returns the name of the endpoint.
    pub fn name(&self) -> &str {
        &self.control.name
    }

    /// Asks the endpoint to pause until it is resumed.
    ///
    /// No delivery begins after this. Those that run end; those that were handed out and have not
    /// begun go back to the queue. Of several pauses the longest holds.
    pub fn pause(&self) {
        self.control.pause(Pause::endless(self.by.clone()));
    }

    /// Asks the endpoint to pause for a time, after which it resumes by itself.
    ///
    /// As [`pause`](Self::pause). The time counts from now on, and consumers that run longer delay
    /// the end. Of several pauses the longest holds; a time beyond the calendar has no end.
    pub fn pause_for(&self, time: Duration) {
        let cause = Cause::Asked(self.by.clone());
        self.control.pause(Pause::lasting(cause, time));
    }

    /// Asks the endpoint to resume, which ends all pauses.
    ///
    /// It tries until the broker has not refused it. Does nothing if the endpoint is not paused.
    pub fn resume(&self) {
        self.control.resume();
    }

    /// Returns `true` if the endpoint is to pause, or has tripped.
    pub fn is_paused(&self) -> bool {
        self.control.is_paused()
    }

    /// Returns the number of messages that the endpoint handles at once.
    pub fn concurrency(&self) -> usize {
        self.control.limits().concurrency
    }

    /// Sets the number of messages that the endpoint handles at once.
    ///
    /// It holds for deliveries that begin from now on; those that run end, also if they are more
    /// than the new limit. With 1, messages that are pulled from now on are handled in the order of
    /// the queue, after those that run.
    ///
    /// # Errors
    /// [`LimitError`] for 0, and for more than the prefetch.
    pub fn set_concurrency(&self, limit: usize) -> Result<(), LimitError> {
        self.control.set_concurrency(limit)
    }

    /// Sets the rate at which the endpoint takes messages, for those that wait too.
    ///
    /// It replaces that of [`Policy::rate_limit`](crate::Policy::rate_limit).
    ///
    /// # Errors
    /// [`LimitError::ZeroRate`] for a limit that lets no message through.
    pub fn set_rate_limit(&self, limit: RateLimit) -> Result<(), LimitError> {
        if limit.mistake().is_some() {
            return Err(LimitError::ZeroRate);
        }
        self.control.pace.set(Some(limit));
        Ok(())
    }

    /// Lets the endpoint take messages as fast as it can.
    pub fn lift_rate_limit(&self) {
        self.control.pace.set(None);
    }
}

impl fmt::Debug for EndpointControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointControl")
            .field("name", &self.control.name)
            .field("by", &self.by)
            .finish_non_exhaustive()
    }
}

impl Control {
    pub(crate) fn new(name: &str, limits: Limits, lanes: usize, has_keys: bool) -> Self {
        let slots = Slots::new(limits.concurrency, limits.prefetch, lanes);
        Self {
            name: name.to_owned(),
            slots: Arc::new(if has_keys { slots.partitioned() } else { slots }),
            limits: Mutex::new(Current::new(limits)),
            pace: Pace::new(None),
            wish: watch::Sender::new(Wish::Run),
        }
    }

    /// Lets messages be pulled at this rate only.
    pub(crate) fn paced(self, limit: Option<RateLimit>) -> Self {
        Self {
            pace: Pace::new(limit),
            ..self
        }
    }

    pub(crate) fn pace(&self) -> &Pace {
        &self.pace
    }

    pub(crate) fn slots(&self) -> &Arc<Slots> {
        &self.slots
    }

    pub(crate) fn limits(&self) -> Limits {
        self.lock().limits
    }

    pub(crate) fn set_concurrency(&self, limit: usize) -> Result<(), LimitError> {
        if limit == 0 {
            return Err(LimitError::ZeroConcurrency);
        }
        self.set_limits(|limits| limits.concurrency = limit)
    }

    /// Sets the prefetch, as far as it concerns the endpoint; returns the one before.
    pub(crate) fn set_prefetch(&self, count: u16) -> Result<u16, LimitError> {
        if count == 0 {
            return Err(LimitError::ZeroPrefetch);
        }
        let mut before = count;
        self.set_limits(|limits| before = std::mem::replace(&mut limits.prefetch, count))?;
        Ok(before)
    }

    fn set_limits(&self, change: impl FnOnce(&mut Limits)) -> Result<(), LimitError> {
        self.lock().change(&self.slots, change)
    }

    /// Begins or ends a trial, during which one message at a time is handled.
    pub(crate) fn set_trial(&self, is_on_trial: bool) {
        self.lock().set_trial(&self.slots, is_on_trial);
    }

    /// Notes the pause of a kill switch that has tripped.
    pub(crate) fn trip(&self, trip: Trip) {
        let cause = Cause::Tripped(trip.reason.into());
        self.pause(Pause::lasting(cause, trip.wait));
    }

    pub(crate) fn is_paused(&self) -> bool {
        matches!(&*self.wish.borrow(), Wish::Pause(_))
    }

    /// Lets deliveries begin; returns `false` if a pause is asked for.
    pub(crate) fn open(&self) -> bool {
        let mut opens = false;
        self.wish.send_if_modified(|wish| {
            // Under the lock, so that no pause is taken back by it.
            opens = !matches!(wish, Wish::Pause(_));
            if opens {
                self.slots.open();
            }
            false
        });
        opens
    }

    pub(crate) fn wish(&self) -> Wish {
        self.wish.borrow().clone()
    }

    pub(crate) fn wishes(&self) -> watch::Receiver<Wish> {
        self.wish.subscribe()
    }

    /// Notes a pause; no delivery begins after it.
    pub(crate) fn pause(&self, pause: Pause) {
        self.wish.send_modify(|wish| {
            // Under the lock, so that a resume finds both or none.
            self.slots.leave();
            let pause = match wish {
                Wish::Pause(present) => present.clone().longer(pause),
                Wish::Run | Wish::Resume => pause,
            };
            *wish = Wish::Pause(pause);
        });
    }

    fn resume(&self) {
        self.wish.send_if_modified(|wish| {
            let pauses = matches!(wish, Wish::Pause(_));
            if pauses {
                *wish = Wish::Resume;
            }
            pauses
        });
    }

    /// Forgets what was asked, for a caller that resumes the endpoint itself.
    pub(crate) fn forget(&self) {
        self.wish.send_replace(Wish::Run);
    }

    /// Replaces a wish that has not changed since.
    pub(crate) fn replace(&self, wish: &Wish, next: Wish) {
        self.wish.send_if_modified(|present| {
            let is_same = present == wish;
            if is_same {
                *present = next;
            }
            is_same
        });
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control() -> EndpointControl {
        let limits = Limits {
            concurrency: 4,
            prefetch: 8,
        };
        EndpointControl::new(Arc::new(Control::new("orders", limits, 2, false)))
    }

    fn pause(control: &EndpointControl) -> Pause {
        match control.control.wish() {
            Wish::Pause(pause) => pause,
            wish => panic!("{wish:?}"),
        }
    }

    fn by_whom(control: &EndpointControl) -> String {
        match pause(control).cause() {
            Cause::Asked(Some(by)) => by.to_string(),
            cause => panic!("{cause:?}"),
        }
    }

    #[test]
    fn a_trial_handles_one_at_a_time_and_keeps_what_is_set_meanwhile() {
        let EndpointControl { control, .. } = control();
        control.set_trial(true);
        assert_eq!(control.slots().limit(), 1);
        assert!(control.set_concurrency(6).is_ok());
        assert_eq!(
            (control.slots().limit(), control.limits().concurrency),
            (1, 6)
        );
        control.set_trial(false);
        assert_eq!(control.slots().limit(), 6);
    }

    #[test]
    fn limits_that_cannot_work_are_refused_and_change_nothing() {
        let control = control();
        assert!(matches!(
            control.set_concurrency(0),
            Err(LimitError::ZeroConcurrency)
        ));
        assert!(matches!(
            control.set_concurrency(9),
            Err(LimitError::PrefetchBelowConcurrency {
                prefetch: 8,
                concurrency: 9
            })
        ));
        for count in [0, 3] {
            assert!(control.control.set_prefetch(count).is_err());
        }
        assert_eq!(control.concurrency(), 4);
        assert_eq!(control.control.set_prefetch(9).ok(), Some(8));
        assert!(control.set_concurrency(9).is_ok());
        assert_eq!(control.concurrency(), 9);
    }

    #[tokio::test]
    async fn the_longest_of_several_pauses_holds() {
        let control = control();
        let by = |name: &str| control.clone().by(name);
        by("short").pause_for(Duration::from_secs(1));
        by("long").pause_for(Duration::from_secs(60));
        by("shorter").pause_for(Duration::from_secs(2));
        assert_eq!(by_whom(&control), "long");
        by("endless").pause_for(Duration::MAX);
        by("late").pause_for(Duration::from_secs(600));
        assert_eq!(by_whom(&control), "endless");
        assert_eq!(pause(&control).until(), None);
        control.resume();
        assert!(!control.is_paused());
    }

    #[test]
    fn a_pause_that_was_extended_does_not_end_with_the_first() {
        let control = control();
        control.pause_for(Duration::from_secs(1));
        let first = control.control.wish();
        control.pause();
        control.control.replace(&first, Wish::Resume);
        assert!(control.is_paused());
    }
}
