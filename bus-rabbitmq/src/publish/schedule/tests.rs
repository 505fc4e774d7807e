//! Order of the messages on a channel of which a test says what it confirms.

mod declarations;
mod refusals;

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
