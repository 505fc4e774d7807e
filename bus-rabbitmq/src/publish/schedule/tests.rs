use std::collections::BTreeMap;

use bus_core::topology::{Queue, Topology};
use bus_core::transport::{Outgoing, TransportErrorKind};
use bytes::Bytes;
use lapin::protocol::{AMQPError, AMQPSoftError};
use tokio::sync::oneshot;

use super::*;
use crate::convert::Returned;
use crate::publish::gate::PATIENCE;
use crate::publish::refusal::Refusal;

const NOTHING: [u8; 0] = [];

type Outcome = oneshot::Receiver<Result<(), TransportError>>;

/// A schedule with a channel that takes what it writes.
struct Channel {
    schedule: Schedule,
    /// Target and body of the unconfirmed messages.
    written: BTreeMap<u64, (String, u8)>,
}

impl Channel {
    fn new(window: usize) -> Self {
        Self {
            schedule: Schedule::new(window),
            written: BTreeMap::new(),
        }
    }

    fn take(&mut self, target: &Target, body: u8) -> Outcome {
        self.take_with(target, body, |_| {})
    }

    fn take_mandatory(&mut self, target: &Target, body: u8) -> Outcome {
        self.take_with(target, body, |outgoing| outgoing.mandatory = true)
    }

    fn take_with(&mut self, target: &Target, body: u8, set: impl Fn(&mut Outgoing)) -> Outcome {
        let mut outgoing = Outgoing::new(target.clone(), Bytes::from(vec![body]));
        set(&mut outgoing);
        outgoing.deadline = Some(Instant::now() + Duration::from_secs(30));
        let (done, outcome) = oneshot::channel();
        let pending = PendingPublish::new(outgoing, body.into(), done).unwrap();
        self.schedule.take(Box::new(pending));
        outcome
    }

    /// Writes what may be written; returns the bodies.
    fn write(&mut self) -> Vec<u8> {
        let mut bodies = Vec::new();
        while let Some(pending) = self.schedule.next() {
            let (name, body) = (
                pending.outgoing.target.name().to_owned(),
                pending.outgoing.body[0],
            );
            self.written
                .insert(self.schedule.depart(pending), (name, body));
            bodies.push(body);
        }
        bodies
    }

    /// Confirms everything but what goes to `stuck`.
    fn confirm_all_but(&mut self, stuck: &str) {
        let confirmed = self.written.extract_if(.., |_, (name, _)| name != stuck);
        for (order, _) in confirmed.collect::<Vec<_>>() {
            self.confirm(order);
        }
        self.schedule.end_round();
    }

    fn confirm(&mut self, order: u64) {
        self.written.remove(&order);
        let confirmed = Confirmed {
            acked: true,
            returned: None,
        };
        self.schedule.confirm(order, confirmed);
    }

    /// Refuses, for now, everything that is written.
    fn nack_all(&mut self) {
        for order in std::mem::take(&mut self.written).into_keys() {
            let confirmed = Confirmed {
                acked: false,
                returned: None,
            };
            self.schedule.confirm(order, confirmed);
        }
        self.schedule.end_round();
    }

    /// Ends the pause of a route.
    fn rest(&mut self) {
        match self.background_task() {
            Some(BackgroundTask::Rest(route, backoff)) => self.schedule.rested(route, backoff),
            _ => panic!("no pause"),
        }
    }

    /// Gives back everything that is written, as a broker does if it is unroutable.
    fn give_back_all(&mut self) {
        for (order, (_, body)) in std::mem::take(&mut self.written) {
            let confirmed = Confirmed {
                acked: true,
                returned: Some(Returned {
                    mark: body.into(),
                    reason: "NO_ROUTE".to_owned(),
                }),
            };
            self.schedule.confirm(order, confirmed);
        }
        self.schedule.end_round();
    }

    /// Makes the declaration that is asked for.
    fn declare(&mut self) {
        let route = self.declaration();
        self.schedule.declared(route, Ok(()));
    }

    fn confirm_all(&mut self) {
        self.confirm_all_but("");
    }

    /// Closes the channel with these words of the broker.
    fn close(&mut self, words: &str) -> bool {
        self.written.clear();
        self.schedule.recover(Some(&refusal(words)))
    }

    fn background_task(&mut self) -> Option<BackgroundTask> {
        let mut background_tasks: Vec<_> = self.schedule.background_tasks().collect();
        assert!(background_tasks.len() <= 1);
        background_tasks.pop()
    }

    fn declaration(&mut self) -> RouteId {
        match self.background_task() {
            Some(BackgroundTask::Declare(route, _)) => route,
            _ => panic!("nothing is to be declared"),
        }
    }
}

fn refusal(words: &str) -> Refusal {
    let error = match words.split(' ').next() {
        Some("NOT_FOUND") => AMQPSoftError::NOTFOUND,
        Some("ACCESS_REFUSED") => AMQPSoftError::ACCESSREFUSED,
        _ => AMQPSoftError::PRECONDITIONFAILED,
    };
    let error = AMQPError::new(error.into(), words.into());
    Refusal::of(&lapin::ErrorKind::ProtocolError(error).into()).expect("a refusal")
}

fn inbox(name: &'static str) -> Target {
    Target::Inbox(name.into())
}

fn exchange(name: &'static str, topology: Option<Topology>) -> Target {
    Target::Exchange {
        name: name.into(),
        topology: topology.map(Into::into),
    }
}

fn error(outcome: &mut Outcome) -> TransportError {
    let outcome = outcome.try_recv().expect("an outcome");
    outcome.expect_err("an error")
}

fn kind(outcome: &mut Outcome) -> Option<TransportErrorKind> {
    let outcome = outcome.try_recv().expect("an outcome");
    outcome.err().map(|error| error.kind())
}

fn unavailable() -> TransportError {
    TransportError::new(TransportErrorKind::Unreachable, "the broker is busy")
}

#[test]
fn targets_that_confirm_nothing_leave_places_for_the_others() {
    for (window, stuck) in [(2, 1), (10, 3), (1000, 9)] {
        let mut channel = Channel::new(window);
        let mut waiting = Vec::new();
        for name in 0..stuck {
            let stuck = Target::Inbox(format!("stuck-{name}").into());
            waiting.extend((0..1000).map(|_| channel.take(&stuck, 0)));
            channel.write();
        }
        let well = inbox("well");
        for body in 0..100 {
            let mut outcome = channel.take(&well, body);
            assert_eq!(channel.write(), [body], "window {window}");
            let order = *channel.written.keys().last().unwrap();
            channel.confirm(order);
            channel.schedule.end_round();
            assert_eq!(kind(&mut outcome), None);
        }
    }
}

#[test]
fn messages_of_one_target_keep_their_order_however_few_places_they_get() {
    let mut channel = Channel::new(10);
    let (slow, quick) = (inbox("slow"), inbox("quick"));
    let mut written = Vec::new();
    let _outcomes: Vec<_> = (0..200)
        .map(|body| channel.take(if body % 4 == 0 { &quick } else { &slow }, body))
        .collect();
    while !channel.schedule.is_idle() {
        written.extend(channel.write());
        let oldest = *channel.written.keys().next().expect("something is written");
        channel.confirm(oldest);
        channel.schedule.end_round();
    }
    assert_eq!(written.len(), 200);
    for quick in [true, false] {
        let bodies = written.iter().filter(|body| (**body % 4 == 0) == quick);
        assert!(bodies.is_sorted(), "quick: {quick}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_being_declared_holds_up_nothing_but_its_own_messages_for_long() {
    let mut channel = Channel::new(10);
    let (new, known) = (exchange("new", None), inbox("known"));
    let _first = channel.take(&new, 1);
    let _second = channel.take(&known, 2);
    let _third = channel.take(&new, 3);
    assert_eq!(channel.write(), NOTHING, "in order, if it is quick");
    let route = channel.declaration();
    tokio::time::advance(GRACE).await;
    assert_eq!(channel.write(), [2], "it is not");
    channel.schedule.declared(route, Ok(()));
    let _fourth = channel.take(&new, 4);
    assert_eq!(channel.write(), [1, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn one_slow_declaration_is_enough_to_wait_for_none() {
    let mut channel = Channel::new(10);
    let _first = channel.take(&exchange("slow", None), 1);
    channel.write();
    channel.declaration();
    tokio::time::advance(GRACE).await;
    let _second = channel.take(&exchange("another", None), 2);
    let _third = channel.take(&inbox("known"), 3);
    assert_eq!(channel.write(), [3]);
}

#[test]
fn a_declaration_that_fails_for_now_is_made_again() {
    let mut channel = Channel::new(10);
    let mut outcome = channel.take(&exchange("new", None), 1);
    channel.write();
    let route = channel.declaration();
    channel.schedule.declared(route, Err(unavailable()));
    assert!(outcome.try_recv().is_err(), "it waits");
    channel.rest();
    assert_eq!(channel.declaration(), route);
    channel.schedule.declared(route, Ok(()));
    assert_eq!(channel.write(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_declaration_that_fails_for_good_ends_what_asked_for_it() {
    let mut channel = Channel::new(10);
    let (looked_for, ours) = (
        exchange("x", None),
        exchange("x", Some(Topology::default())),
    );
    let mut strangers = [channel.take(&looked_for, 1), channel.take(&looked_for, 2)];
    let _own = channel.take(&ours, 3);
    channel.write();
    tokio::time::advance(GRACE).await;
    channel.write();
    let route = channel.declaration();
    let missing = TransportError::new(TransportErrorKind::Unroutable, "not there");
    channel.schedule.declared(route, Err(missing));
    for outcome in &mut strangers {
        assert_eq!(kind(outcome), Some(TransportErrorKind::Unroutable));
    }
    assert_eq!(channel.declaration(), route, "the other one is declared");
    channel.schedule.declared(route, Ok(()));
    assert_eq!(channel.write(), [3]);
}

#[test]
fn what_the_broker_read_before_it_refused_is_confirmed_before_anything_else_is_written() {
    let mut channel = Channel::new(100);
    let (open, closed) = (inbox("open"), exchange("closed", Some(Topology::default())));
    let mut refused = channel.take(&closed, 1);
    channel.write();
    let route = channel.declaration();
    channel.schedule.declared(route, Ok(()));
    let _innocent: Vec<_> = (2..6).map(|body| channel.take(&open, body)).collect();
    let mut too = channel.take(&closed, 6);
    let _later = channel.take(&open, 7);
    assert_eq!(channel.write(), [1, 2, 3, 4, 5, 6, 7]);
    channel.confirm(0);
    assert_eq!(kind(&mut refused), None);
    let words = "ACCESS_REFUSED - access to exchange 'closed' in vhost '/' refused for user 'app'";
    assert!(channel.close(words));
    assert_eq!(kind(&mut too), Some(TransportErrorKind::AccessRefused));
    assert_eq!(channel.write(), [2, 3, 4, 5]);
    channel.confirm(7);
    assert_eq!(channel.write(), NOTHING, "three are not confirmed");
    channel.confirm_all();
    assert_eq!(channel.write(), [7]);
}

#[test]
fn after_a_refusal_that_names_no_message_each_goes_alone_until_it_is_confirmed() {
    let mut channel = Channel::new(10);
    let target = inbox("q");
    let mut outcomes = [0, 1, 2, 3].map(|body| channel.take(&target, body));
    assert_eq!(channel.write(), [0, 1, 2, 3]);
    let words = "PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header}";
    assert!(!channel.close(words));
    let mut later = channel.take(&target, 9);
    assert_eq!(channel.write(), [0]);
    assert_eq!(channel.write(), NOTHING, "it is not confirmed yet");
    channel.confirm_all();
    assert_eq!(channel.write(), [1]);
    assert!(channel.close(words), "it was alone");
    assert_eq!(kind(&mut outcomes[1]), Some(TransportErrorKind::Protocol));
    for body in [2, 3] {
        assert_eq!(channel.write(), [body]);
        channel.confirm_all();
    }
    assert_eq!(channel.write(), [9]);
    channel.confirm_all();
    for index in [0, 2, 3] {
        assert_eq!(kind(&mut outcomes[index]), None);
    }
    assert_eq!(kind(&mut later), None);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_that_was_read_but_is_never_confirmed_does_not_stop_the_others() {
    let mut channel = Channel::new(10);
    let (stuck, well) = (inbox("stuck"), inbox("well"));
    let mut innocent = channel.take(&stuck, 1);
    let mut culprit = channel.take(&well, 2);
    channel.write();
    let words = "PRECONDITION_FAILED - invalid message: something";
    channel.close(words);
    assert_eq!(channel.write(), [1]);
    tokio::time::advance(PATIENCE).await;
    assert_eq!(channel.write(), NOTHING, "the broker may not have read it");
    let order = *channel.written.keys().next().unwrap();
    channel.schedule.clear(order);
    assert_eq!(channel.write(), [2]);
    assert!(channel.close(words), "the other one has been read before");
    assert_eq!(kind(&mut culprit), Some(TransportErrorKind::Protocol));
    assert_eq!(channel.write(), [1]);
    channel.confirm_all();
    assert_eq!(kind(&mut innocent), None);
}

/// A topology that declares a queue.
fn kept() -> Topology {
    Topology {
        queues: vec![Queue::classic("q_error")],
        ..Topology::default()
    }
}

#[test]
fn a_message_that_comes_back_goes_once_more_after_another_declaration() {
    for target in [exchange("q_error", Some(kept())), Target::Queue("q".into())] {
        let mut channel = Channel::new(100);
        let mut outcomes = [1, 2].map(|body| channel.take_mandatory(&target, body));
        channel.write();
        channel.declare();
        assert_eq!(channel.write(), [1, 2]);
        channel.give_back_all();
        let mut later = channel.take_mandatory(&target, 3);
        assert_eq!(channel.write(), NOTHING, "it is declared first");
        channel.declare();
        assert_eq!(channel.write(), [1, 2, 3], "in order");
        channel.confirm_all();
        for outcome in outcomes.iter_mut().chain([&mut later]) {
            assert_eq!(kind(outcome), None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_declaration_that_did_not_help_is_not_made_for_each_message_that_comes_back() {
    let mut channel = Channel::new(100);
    let target = exchange("event", Some(kept()));
    let mut first = channel.take_mandatory(&target, 1);
    channel.write();
    channel.declare();
    channel.write();
    channel.give_back_all();
    channel.declare();
    channel.write();
    channel.give_back_all();
    assert_eq!(kind(&mut first), Some(TransportErrorKind::Unroutable));
    let mut second = channel.take_mandatory(&target, 2);
    channel.write();
    channel.give_back_all();
    assert_eq!(kind(&mut second), Some(TransportErrorKind::Unroutable));
    tokio::time::advance(Duration::from_secs(1)).await;
    let _third = channel.take_mandatory(&target, 3);
    channel.write();
    channel.give_back_all();
    channel.declare();
    assert_eq!(channel.write(), [3]);
}

#[test]
fn a_message_that_no_declaration_can_route_is_unroutable_at_once() {
    for target in [
        exchange("event", Some(Topology::default())),
        exchange("foreign", None),
        inbox("q"),
    ] {
        let mut channel = Channel::new(100);
        let mut outcome = channel.take_mandatory(&target, 1);
        if channel.write().is_empty() {
            channel.declare();
            channel.write();
        }
        channel.give_back_all();
        assert_eq!(kind(&mut outcome), Some(TransportErrorKind::Unroutable));
        assert!(channel.schedule.is_idle());
    }
}

#[test]
fn an_exchange_that_is_gone_is_declared_again_once_for_a_message() {
    let mut channel = Channel::new(100);
    let (ours, other) = (exchange("x", Some(kept())), inbox("other"));
    let mut outcomes = [1, 2].map(|body| channel.take(&ours, body));
    let mut innocent = channel.take(&other, 3);
    channel.write();
    channel.declare();
    assert_eq!(channel.write(), [1, 2, 3]);
    let words = "NOT_FOUND - no exchange 'x' in vhost '/'";
    assert!(channel.close(words));
    channel.write();
    channel.declare();
    for batch in [vec![1, 2], vec![3]] {
        assert_eq!(channel.write(), batch);
        channel.confirm_all();
    }
    for outcome in outcomes.iter_mut().chain([&mut innocent]) {
        assert_eq!(kind(outcome), None);
    }
    let mut unlucky = channel.take(&ours, 4);
    for _ in 0..2 {
        channel.write();
        assert!(channel.close(words));
        channel.write();
        if let Some(BackgroundTask::Declare(route, _)) = channel.background_task() {
            channel.schedule.declared(route, Ok(()));
        }
    }
    assert_eq!(kind(&mut unlucky), Some(TransportErrorKind::Unroutable));
}

#[test]
fn a_foreign_exchange_that_is_gone_is_looked_for_again() {
    let mut channel = Channel::new(100);
    let foreign = exchange("x", None);
    let mut lost = channel.take(&foreign, 1);
    channel.write();
    channel.declare();
    channel.write();
    assert!(channel.close("NOT_FOUND - no exchange 'x' in vhost '/'"));
    assert_eq!(kind(&mut lost), Some(TransportErrorKind::Unroutable));
    let _next = channel.take(&foreign, 2);
    assert_eq!(channel.write(), NOTHING);
    channel.declaration();
}

/// Messages that the broker had before a loss may be in a queue.
///
/// Its answer to the second write does not change that.
#[test]
fn what_was_on_its_way_before_may_have_arrived_also_if_it_is_refused_or_returned() {
    let mut channel = Channel::new(100);
    let (inbox, foreign) = (inbox("q"), exchange("x", None));
    let mut outcomes = [channel.take_mandatory(&inbox, 1), channel.take(&foreign, 2)];
    channel.write();
    channel.declare();
    channel.write();
    channel.written.clear();
    assert!(!channel.schedule.recover(None));
    channel.write();
    let order = *channel.written.keys().next().unwrap();
    let foreign = channel.written.split_off(&(order + 1));
    channel.give_back_all();
    channel.written = foreign;
    channel.close("NOT_FOUND - no exchange 'x' in vhost '/'");
    for (outcome, reason) in outcomes.iter_mut().zip(["NO_ROUTE", "NOT_FOUND"]) {
        let error = error(outcome);
        assert_eq!(error.kind(), TransportErrorKind::TimedOut, "{error}");
        for part in [reason, "may have arrived"] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}

/// The broker stops reading at what it refuses.
#[test]
fn what_was_written_behind_a_refused_message_has_not_arrived() {
    let mut channel = Channel::new(100);
    let (closed, open) = (exchange("closed", None), inbox("q"));
    let _culprit = channel.take(&closed, 1);
    let mut behind = channel.take_mandatory(&open, 2);
    channel.write();
    channel.declare();
    assert_eq!(channel.write(), [1, 2]);
    channel.close("ACCESS_REFUSED - access to exchange 'closed' in vhost '/' refused for user 'u'");
    assert_eq!(channel.write(), [2]);
    channel.give_back_all();
    assert_eq!(kind(&mut behind), Some(TransportErrorKind::Unroutable));
}

#[test]
fn what_is_refused_for_now_is_tried_again_before_what_goes_to_the_same_target() {
    let mut channel = Channel::new(100);
    let (full, well) = (inbox("full"), inbox("well"));
    let mut outcomes: Vec<_> = (1..=3).map(|body| channel.take(&full, body)).collect();
    assert_eq!(channel.write(), [1, 2, 3]);
    channel.nack_all();
    outcomes.extend((4..=8).map(|body| channel.take(&full, body)));
    let mut other = channel.take(&well, 9);
    assert_eq!(channel.write(), [9], "the others go on");
    channel.confirm_all();
    assert_eq!(kind(&mut other), None);
    channel.rest();
    assert_eq!(channel.write(), [1], "one shows whether there is room");
    channel.nack_all();
    assert_eq!(channel.write(), NOTHING);
    channel.rest();
    for together in [vec![1], vec![2, 3], vec![4, 5, 6, 7]] {
        assert_eq!(channel.write(), together);
        channel.confirm_all();
    }
    assert_eq!(channel.write(), [8]);
    channel.confirm_all();
    for outcome in &mut outcomes {
        assert_eq!(kind(outcome), None);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_until_its_deadline_is_refused() {
    let mut channel = Channel::new(100);
    let full = inbox("full");
    let mut refused = channel.take(&full, 1);
    channel.write();
    channel.nack_all();
    let mut behind = channel.take(&full, 2);
    channel.write();
    tokio::time::advance(Duration::from_secs(30)).await;
    channel.schedule.expire(None);
    for (outcome, text) in [
        (&mut refused, "did not take it before its deadline"),
        (&mut behind, "refused those before it"),
    ] {
        let error = error(outcome);
        assert_eq!(error.kind(), TransportErrorKind::Nacked);
        assert!(error.to_string().contains(text), "{error}");
    }
    assert!(channel.schedule.is_idle());
}

#[tokio::test(start_paused = true)]
async fn what_was_on_its_way_before_may_have_arrived_though_it_is_refused_now() {
    let mut channel = Channel::new(100);
    let mut outcome = channel.take(&inbox("full"), 1);
    channel.write();
    channel.written.clear();
    channel.schedule.recover(None);
    channel.write();
    channel.nack_all();
    tokio::time::advance(Duration::from_secs(30)).await;
    channel.schedule.expire(None);
    let error = error(&mut outcome);
    assert_eq!(error.kind(), TransportErrorKind::TimedOut, "{error}");
    assert!(error.to_string().contains("negative"), "{error}");
}

/// Each try closes the channel that all others use.
#[tokio::test(start_paused = true)]
async fn an_exchange_that_may_not_be_written_to_is_not_tried_with_each_message() {
    let mut channel = Channel::new(100);
    let denied = exchange("denied", None);
    let mut outcomes = vec![channel.take(&denied, 1)];
    channel.write();
    channel.declare();
    assert_eq!(channel.write(), [1]);
    let words = "ACCESS_REFUSED - access to exchange 'denied' in vhost '/' refused for user 'app'";
    channel.close(words);
    outcomes.push(channel.take(&denied, 2));
    assert_eq!(channel.write(), NOTHING);
    for outcome in &mut outcomes {
        assert_eq!(kind(outcome), Some(TransportErrorKind::AccessRefused));
    }
    tokio::time::advance(Duration::from_secs(5)).await;
    let _later = channel.take(&denied, 3);
    assert_eq!(channel.write(), [3]);
}

#[test]
fn what_was_on_its_way_when_a_channel_was_lost_goes_before_what_waited_for_a_place() {
    let mut channel = Channel::new(10);
    let target = inbox("q");
    let _outcomes: Vec<_> = (1..=9).map(|body| channel.take(&target, body)).collect();
    assert_eq!(channel.write(), [1, 2, 3, 4, 5]);
    channel.written.clear();
    channel.schedule.recover(None);
    assert_eq!(channel.write(), [1, 2, 3, 4, 5]);
    channel.confirm_all();
    assert_eq!(channel.write(), [6, 7, 8, 9]);
}

/// Messages wait for a confirm only, once the broker takes messages again.
#[tokio::test(start_paused = true)]
async fn what_waits_after_a_refusal_that_is_over_is_not_called_refused() {
    let mut channel = Channel::new(100);
    let target = inbox("full");
    let _refused = channel.take(&target, 1);
    channel.write();
    channel.nack_all();
    channel.rest();
    assert_eq!(channel.write(), [1]);
    channel.confirm_all();
    let _unconfirmed = [2, 3].map(|body| channel.take(&target, body));
    let mut behind = channel.take(&target, 4);
    assert_eq!(channel.write(), [2, 3]);
    tokio::time::advance(Duration::from_secs(30)).await;
    channel.schedule.expire(None);
    assert_eq!(kind(&mut behind), Some(TransportErrorKind::Unreachable));
}
