//! Messages that wait for their confirm, and which of them the broker gave back.

use std::collections::VecDeque;
use std::mem;

use bus_core::transport::{TransportError, TransportErrorKind};
use tokio::time::Instant;

use crate::job::{Job, Jobs, Standing};
use crate::loss::Lost;
use crate::targets::RouteId;

/// What the client reports when a confirm arrives.
pub(crate) struct Confirmed {
    pub(crate) acked: bool,
    /// A message that came back, whichever it was: the client hands returns out in the order of their arrival, with
    /// whatever confirm comes next.
    pub(crate) returned: Option<Returned>,
}

/// A message that the broker gave back, by its mark.
pub(crate) struct Returned {
    pub(crate) mark: u64,
    pub(crate) reason: String,
}

/// The jobs that are written and not confirmed, in the order of writing.
///
/// The broker returns a message before it confirms it, and the client hands out one return with each confirm, oldest
/// first. So a confirm that comes without a return shows that the return of its own message, if there is one, went out
/// with an earlier confirm; and of all messages that were confirmed before it. Confirms are not always taken in the
/// order in which the client got them, though. That is why a message that may come back is decided at the end of a
/// round: when all confirms that the client has were taken.
#[derive(Default)]
pub(crate) struct Flight {
    /// The order of the first place.
    first: u64,
    /// In the order of writing; what is confirmed leaves its place empty until all before it are confirmed.
    places: VecDeque<Option<Box<Job>>>,
    /// How many places are taken.
    taken: usize,
    /// Confirmed, but perhaps returned.
    undecided: Vec<Undecided>,
    /// How many of the first of them were confirmed in earlier rounds.
    earlier: usize,
    /// A confirm of this round came without a return.
    none_waiting: bool,
    /// Came back, and wait to be taken.
    returned: Jobs,
    /// Were refused, and wait to be taken.
    nacked: Jobs,
    /// Unconfirmed jobs whose time is up.
    forsaken: usize,
    /// Undecided jobs whose time is up.
    lapsed: usize,
}

struct Undecided {
    job: Box<Job>,
    /// Its own confirm came without a return.
    none_waiting: bool,
}

impl Flight {
    /// Counts those that a sender waits for.
    pub(crate) fn awaited(&self) -> usize {
        self.taken - self.forsaken
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// Takes the next place; gives its number.
    pub(crate) fn insert(&mut self, job: Box<Job>) -> u64 {
        self.places.push_back(Some(job));
        self.taken += 1;
        self.first + self.places.len() as u64 - 1
    }

    fn remove(&mut self, order: u64) -> Option<Box<Job>> {
        let place = usize::try_from(order.checked_sub(self.first)?).ok()?;
        let job = self.places.get_mut(place)?.take()?;
        self.taken -= 1;
        while let Some(None) = self.places.front() {
            self.places.pop_front();
            self.first += 1;
        }
        Some(job)
    }

    /// Takes a confirm; gives the route of its message.
    pub(crate) fn confirm(&mut self, order: u64, confirmed: Confirmed) -> Option<RouteId> {
        let mut job = self.remove(order)?;
        let route = job.route;
        self.forsaken -= usize::from(job.is_forsaken());
        let none_waiting = confirmed.returned.is_none();
        self.none_waiting |= none_waiting;
        if let Some(returned) = confirmed.returned {
            if job.mark == Some(returned.mark) {
                job.returned = Some(returned.reason);
            } else {
                self.attribute(returned);
            }
        }
        if !confirmed.acked {
            self.refuse(job);
        } else if job.returned.is_some() || job.mark.is_none() {
            self.decide(job);
        } else {
            self.lapsed += usize::from(job.is_forsaken());
            self.undecided.push(Undecided { job, none_waiting });
        }
        Some(route)
    }

    /// Ends a round: every confirm that the client had when the last one of the round was taken has been taken too.
    pub(crate) fn end_round(&mut self) {
        let all = self.is_empty();
        let earlier = if mem::take(&mut self.none_waiting) {
            self.earlier
        } else {
            0
        };
        let mut index = 0;
        let decided = self.undecided.extract_if(.., |undecided| {
            index += 1;
            all || undecided.none_waiting || index <= earlier
        });
        for Undecided { job, .. } in decided {
            self.lapsed -= usize::from(job.is_forsaken());
            // A return would have been attributed.
            job.finish(Ok(()));
        }
        self.earlier = self.undecided.len();
    }

    fn attribute(&mut self, returned: Returned) {
        let is_it = |job: &Job| job.mark == Some(returned.mark);
        if let Some(job) = self.places.iter_mut().flatten().find(|job| is_it(job)) {
            job.returned = Some(returned.reason);
        } else if let Some(index) = self.undecided.iter().position(|it| is_it(&it.job)) {
            let mut job = self.undecided.remove(index).job;
            self.earlier -= usize::from(index < self.earlier);
            self.lapsed -= usize::from(job.is_forsaken());
            job.returned = Some(returned.reason);
            self.decide(job);
        }
    }

    fn decide(&mut self, job: Box<Job>) {
        if job.returned.is_none() {
            job.finish(Ok(()));
        } else if !job.is_forsaken() {
            self.returned.push_back(job);
        }
    }

    fn refuse(&mut self, mut job: Box<Job>) {
        if !job.is_forsaken() {
            job.was_nacked = true;
            self.nacked.push_back(job);
        }
    }

    /// Takes those that the broker refused for now.
    pub(crate) fn nacked(&mut self) -> Jobs {
        mem::take(&mut self.nacked)
    }

    /// Takes those that came back.
    pub(crate) fn returned(&mut self) -> Jobs {
        mem::take(&mut self.returned)
    }

    /// Lets go of those whose time is up.
    ///
    /// They keep their places, as the broker may still take them. `why` says why the broker cannot
    /// be reached, if it cannot.
    pub(crate) fn expire(&mut self, now: Instant, why: Option<&str>) {
        let timed_out = |job: &mut Job, what: &str| {
            let (target, why) = (job.target(), why.map(|why| format!(": {why}")));
            let text = format!(
                "RabbitMQ has not {what} the message to {target} in time; it may have arrived{}",
                why.unwrap_or_default()
            );
            job.forsake(TransportError::new(TransportErrorKind::TimedOut, text));
        };
        for job in self.places.iter_mut().flatten() {
            if job.is_due(now) {
                timed_out(job, "confirmed");
                self.forsaken += 1;
            }
        }
        for undecided in &mut self.undecided {
            if undecided.job.is_due(now) {
                timed_out(&mut undecided.job, "said what became of");
                self.lapsed += 1;
            }
        }
    }

    /// Pairs a message that is sent again with itself, should it still be on its way; else gives it back.
    pub(crate) fn adopt(&mut self, job: Box<Job>) -> Option<Box<Job>> {
        if self.forsaken + self.lapsed == 0 {
            return Some(job);
        }
        let mut places = self.places.iter_mut().flatten();
        if let Some(other) = places.find(|other| other.is_same(&job)) {
            other.adopt(*job);
            self.forsaken -= 1;
            return None;
        }
        let mut undecided = self.undecided.iter_mut();
        if let Some(other) = undecided.find(|other| other.job.is_same(&job)) {
            other.job.adopt(*job);
            self.lapsed -= 1;
            return None;
        }
        Some(job)
    }

    /// True if a suspect is on its way, and not known to be read.
    pub(crate) fn has_suspect(&self) -> bool {
        let mut jobs = self.places.iter().flatten();
        jobs.any(|job| matches!(job.standing, Standing::Suspect(_)))
    }

    /// Notes that the broker has read this one, and all before it.
    pub(crate) fn clear(&mut self, order: u64) {
        let place = order.checked_sub(self.first);
        let place = place.and_then(|place| usize::try_from(place).ok());
        if let Some(Some(job)) = place.and_then(|place| self.places.get_mut(place)) {
            job.standing = Standing::Cleared;
        }
    }

    /// Takes everything that was on its way on a channel that is gone.
    ///
    /// The returns that were not handed out are gone with it.
    pub(crate) fn abandon(&mut self) -> Lost {
        self.earlier = 0;
        self.none_waiting = false;
        self.forsaken = 0;
        self.lapsed = 0;
        self.taken = 0;
        self.first += self.places.len() as u64;
        let undecided = mem::take(&mut self.undecided).into_iter();
        Lost {
            confirmed: undecided.map(|undecided| undecided.job).collect(),
            unconfirmed: mem::take(&mut self.places).into_iter().flatten().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bus_core::transport::{Outgoing, Target};
    use bytes::Bytes;
    use tokio::sync::oneshot;

    use super::*;

    type Outcome = oneshot::Receiver<Result<(), TransportError>>;

    fn job(mark: Option<u64>) -> (Box<Job>, Outcome) {
        let mut outgoing = Outgoing::new(Target::Inbox("q".into()), Bytes::from_static(b"x"));
        outgoing.mandatory = mark.is_some();
        let (done, outcome) = oneshot::channel();
        let job = Job::new(outgoing, mark.unwrap_or_default(), done).unwrap();
        (Box::new(job), outcome)
    }

    fn acked(returned: Option<u64>) -> Confirmed {
        let returned = returned.map(|mark| Returned {
            mark,
            reason: "NO_ROUTE".to_owned(),
        });
        Confirmed {
            acked: true,
            returned,
        }
    }

    fn kind(outcome: &mut Outcome) -> Option<TransportErrorKind> {
        let result = outcome.try_recv().expect("decided");
        result.err().map(|error| error.kind())
    }

    fn came_back(flight: &mut Flight) -> Vec<Option<u64>> {
        flight.returned().iter().map(|job| job.mark).collect()
    }

    #[test]
    fn a_return_that_comes_with_another_confirm_is_credited_to_its_message() {
        let mut flight = Flight::default();
        let ((first, mut first_outcome), (second, _outcome)) = (job(Some(1)), job(Some(2)));
        let (one, two) = (flight.insert(first), flight.insert(second));
        // Both came back; the client handed each one the other's return.
        flight.confirm(one, acked(Some(2)));
        flight.end_round();
        assert!(first_outcome.try_recv().is_err(), "not decided yet");
        flight.confirm(two, acked(Some(1)));
        assert_eq!(came_back(&mut flight), [Some(1), Some(2)]);
    }

    #[test]
    fn a_routed_message_that_carries_a_strangers_return_is_routed() {
        let mut flight = Flight::default();
        let (routed, mut routed_outcome) = job(Some(1));
        let (returned, _outcome) = job(Some(2));
        let (plain, mut plain_outcome) = job(None);
        let orders = [routed, returned, plain].map(|job| flight.insert(job));
        flight.confirm(orders[0], acked(Some(2)));
        flight.end_round();
        flight.confirm(orders[2], acked(None));
        flight.end_round();
        assert_eq!(kind(&mut routed_outcome), None);
        assert_eq!(kind(&mut plain_outcome), None);
        flight.confirm(orders[1], acked(None));
        assert_eq!(came_back(&mut flight), [Some(2)]);
        assert!(flight.is_empty());
    }

    #[test]
    fn the_last_one_on_the_way_is_decided() {
        let mut flight = Flight::default();
        let (returned, mut returned_outcome) = job(Some(1));
        let (routed, mut routed_outcome) = job(Some(2));
        let (one, two) = (flight.insert(returned), flight.insert(routed));
        flight.confirm(one, acked(None));
        flight.end_round();
        assert_eq!(kind(&mut returned_outcome), None);
        flight.confirm(two, acked(Some(77)));
        flight.end_round();
        assert_eq!(kind(&mut routed_outcome), None);
    }

    #[test]
    fn a_return_that_is_taken_late_still_counts() {
        let mut flight = Flight::default();
        let (routed, mut routed_outcome) = job(Some(1));
        let (returned, _outcome) = job(Some(2));
        let (one, two) = (flight.insert(routed), flight.insert(returned));
        // The client confirmed the first one before the second, and handed it the second one's return.
        flight.confirm(two, acked(None));
        assert!(came_back(&mut flight).is_empty(), "not decided yet");
        flight.confirm(one, acked(Some(2)));
        flight.end_round();
        assert_eq!(kind(&mut routed_outcome), None);
        assert_eq!(came_back(&mut flight), [Some(2)]);
    }

    #[test]
    fn what_carried_a_strangers_return_waits_for_a_later_round() {
        let mut flight = Flight::default();
        let (carrier, mut carrier_outcome) = job(Some(1));
        let (stranger, _outcome) = job(Some(2));
        let (open, mut open_outcome) = job(Some(3));
        let orders = [carrier, stranger, open].map(|job| flight.insert(job));
        // Nobody knows which of the two the client got first, so the empty one says nothing of the other.
        flight.confirm(orders[0], acked(Some(2)));
        flight.confirm(orders[1], acked(None));
        flight.end_round();
        assert!(carrier_outcome.try_recv().is_err(), "not decided yet");
        assert_eq!(came_back(&mut flight), [Some(2)]);
        flight.confirm(orders[2], acked(None));
        flight.end_round();
        assert_eq!(kind(&mut carrier_outcome), None);
        assert_eq!(kind(&mut open_outcome), None);
    }

    #[test]
    fn a_refusal_belongs_to_its_message() {
        let mut flight = Flight::default();
        let ((refused, mut outcome), (taken, mut taken_outcome)) = (job(Some(1)), job(None));
        let orders = [refused, taken].map(|job| flight.insert(job));
        let confirmed = Confirmed {
            acked: false,
            returned: None,
        };
        flight.confirm(orders[0], confirmed);
        flight.confirm(orders[1], acked(None));
        assert_eq!(kind(&mut taken_outcome), None);
        assert!(outcome.try_recv().is_err(), "it may be tried again");
        let nacked = flight.nacked();
        assert_eq!(
            nacked.iter().map(|job| job.mark).collect::<Vec<_>>(),
            [Some(1)]
        );
    }

    #[test]
    fn what_may_have_come_back_is_sent_again_when_the_channel_is_lost() {
        let mut flight = Flight::default();
        let (carrier, mut outcome) = job(Some(1));
        let (open, _outcome) = job(Some(2));
        let one = flight.insert(carrier);
        flight.insert(open);
        flight.confirm(one, acked(Some(77)));
        flight.end_round();
        let lost = flight.abandon();
        let marks = |jobs: &Jobs| jobs.iter().map(|job| job.mark).collect::<Vec<_>>();
        assert_eq!(marks(&lost.confirmed), [Some(1)]);
        assert_eq!(marks(&lost.unconfirmed), [Some(2)]);
        assert!(outcome.try_recv().is_err(), "not decided");
        assert!(flight.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_sent_again_joins_the_one_that_is_still_on_its_way() {
        let mut flight = Flight::default();
        let (mut first, mut first_outcome) = job(None);
        first.outgoing.deadline = Some(Instant::now());
        first.outgoing.message_id = Some("id".to_owned());
        let (mut again, mut again_outcome) = job(None);
        again.outgoing.message_id = Some("id".to_owned());
        let order = flight.insert(first);
        flight.expire(Instant::now(), None);
        assert_eq!(kind(&mut first_outcome), Some(TransportErrorKind::TimedOut));
        assert!(flight.adopt(again).is_none(), "it is the same message");
        flight.confirm(order, acked(None));
        assert_eq!(kind(&mut again_outcome), None);
        assert_eq!(flight.forsaken, 0);
    }

    /// Its confirm came with the return of another one, so only a later confirm will tell.
    #[tokio::test(start_paused = true)]
    async fn a_deadline_holds_for_a_message_that_is_confirmed_but_perhaps_came_back() {
        let mut flight = Flight::default();
        let ((mut carrier, mut outcome), (open, _outcome)) = (job(Some(1)), job(Some(2)));
        carrier.outgoing.deadline = Some(Instant::now());
        carrier.outgoing.message_id = Some("id".to_owned());
        let orders = [carrier, open].map(|job| flight.insert(job));
        flight.confirm(orders[0], acked(Some(77)));
        flight.end_round();
        flight.expire(Instant::now(), None);
        assert_eq!(kind(&mut outcome), Some(TransportErrorKind::TimedOut));
        let (mut again, mut again_outcome) = job(Some(3));
        again.outgoing.message_id = Some("id".to_owned());
        assert!(flight.adopt(again).is_none(), "it is the same message");
        flight.confirm(orders[1], acked(None));
        flight.end_round();
        assert_eq!(kind(&mut again_outcome), None);
        assert!(flight.undecided.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_is_given_up_before_its_confirm_is_decided_like_any_other() {
        let mut flight = Flight::default();
        let ((mut carrier, mut outcome), (open, _outcome)) = (job(Some(1)), job(Some(2)));
        carrier.outgoing.deadline = Some(Instant::now());
        let orders = [carrier, open].map(|job| flight.insert(job));
        flight.expire(Instant::now(), Some("it is away"));
        let error = outcome.try_recv().expect("decided").unwrap_err();
        assert!(error.to_string().ends_with("it is away"), "{error}");
        for (order, returned) in [(orders[0], Some(77)), (orders[1], None)] {
            flight.confirm(order, acked(returned));
            flight.end_round();
        }
        assert!(flight.undecided.is_empty());
        assert_eq!((flight.forsaken, flight.lapsed), (0, 0));
    }
}
