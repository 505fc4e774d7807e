//! Control of an endpoint from inside: its limits, and the wish that it pauses.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::Instant;

use super::slots::Slots;
use crate::error::LimitError;

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
    limits: Mutex<Limits>,
    wish: watch::Sender<Wish>,
}

/// Limits of an endpoint, as they are set now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) concurrency: usize,
    pub(crate) prefetch: u16,
}

/// Wish of those who control an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Run,
    Pause(Pause),
    /// To resume by itself, until it has done so.
    Resume,
}

/// A pause, until it is ended or for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    by: Option<Arc<str>>,
    until: Option<(Instant, SystemTime)>,
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
        self.control.pause(Pause::new(self.by.clone(), None));
    }

    /// Asks the endpoint to pause for a time, after which it resumes by itself.
    ///
    /// As [`pause`](Self::pause). The time counts from now on, and consumers that run longer delay
    /// the end. Of several pauses the longest holds; a time beyond the calendar has no end.
    pub fn pause_for(&self, time: Duration) {
        let until = Instant::now().checked_add(time);
        let until = until.zip(SystemTime::now().checked_add(time));
        self.control.pause(Pause::new(self.by.clone(), until));
    }

    /// Asks the endpoint to resume, which ends all pauses.
    ///
    /// It tries until the broker has not refused it. Does nothing if the endpoint is not paused.
    pub fn resume(&self) {
        self.control.resume();
    }

    /// Returns `true` if the endpoint was asked to pause.
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
            limits: Mutex::new(limits),
            wish: watch::Sender::new(Wish::Run),
        }
    }

    pub(crate) fn slots(&self) -> &Arc<Slots> {
        &self.slots
    }

    pub(crate) fn limits(&self) -> Limits {
        *self.lock()
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
        let mut now = self.lock();
        let mut limits = *now;
        change(&mut limits);
        if limits.concurrency > limits.prefetch.into() {
            return Err(LimitError::PrefetchBelowConcurrency {
                prefetch: limits.prefetch,
                concurrency: limits.concurrency,
            });
        }
        *now = limits;
        self.slots.resize(limits.concurrency, limits.prefetch);
        Ok(())
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

    fn lock(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pause {
    pub(crate) fn new(by: Option<Arc<str>>, until: Option<(Instant, SystemTime)>) -> Self {
        Self { by, until }
    }

    /// Returns the longer of two; the first of equals.
    fn longer(self, other: Self) -> Self {
        let is_longer = match (self.until, other.until) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some((until, _)), Some((later, _))) => later > until,
        };
        if is_longer { other } else { self }
    }

    /// Waits until it is over.
    pub(crate) async fn over(&self) {
        match self.until {
            Some((until, _)) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    /// Instant at which it is over, on the clock of the machine.
    pub(crate) fn until(&self) -> Option<SystemTime> {
        self.until.map(|(_, until)| until)
    }

    pub(crate) fn by(&self) -> Option<&str> {
        self.by.as_deref()
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
        assert_eq!(pause(&control).by(), Some("long"));
        by("endless").pause_for(Duration::MAX);
        by("late").pause_for(Duration::from_secs(600));
        assert_eq!(pause(&control).by(), Some("endless"));
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
