//! A simulated broker that closes channels at random: only refused messages fail.

use std::collections::BTreeMap;

use bus_core::transport::Outgoing;
use bytes::Bytes;
use lapin::protocol::{AMQPError, AMQPSoftError};
use tokio::sync::oneshot;

use super::*;
use crate::publish::refusal::Refusal;

/// The size of the first message; each is one byte longer, so that a size names it.
const FIRST: usize = 1000;
const ALL: usize = 60;

/// A source of random numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    /// Returns one of `0..sides`.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Innocent,
    /// A message that is refused with words that name its size.
    Sized,
    /// A message that is refused with words that name nothing.
    Unnamed,
}

struct Simulation {
    dice: Dice,
    schedule: Schedule,
    kinds: Vec<Kind>,
    outcomes: Vec<oneshot::Receiver<Result<(), TransportError>>>,
    /// Messages that are written, and not read by the broker.
    unread: VecDeque<(u64, usize)>,
    /// Messages that are read, and not confirmed.
    unconfirmed: Vec<u64>,
    arrivals: BTreeMap<usize, usize>,
    /// Last message of each target that arrived for the first time.
    order: BTreeMap<usize, usize>,
}

/// Returns the one of three targets that a message goes to.
fn target(number: usize) -> usize {
    number % 3
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut schedule = Schedule::new(20);
        let (mut kinds, mut outcomes) = (Vec::new(), Vec::new());
        for number in 0..ALL {
            kinds.push(match dice.roll(12) {
                0 => Kind::Sized,
                1 => Kind::Unnamed,
                _ => Kind::Innocent,
            });
            let name = format!("q-{}", target(number));
            let body = Bytes::from(vec![0; FIRST + number]);
            let outgoing = Outgoing::new(Target::Inbox(name.into()), body);
            let (done, outcome) = oneshot::channel();
            schedule.take(Box::new(PendingPublish::new(outgoing, 0, done).unwrap()));
            outcomes.push(outcome);
        }
        Self {
            dice,
            schedule,
            kinds,
            outcomes,
            unread: VecDeque::new(),
            unconfirmed: Vec::new(),
            arrivals: BTreeMap::new(),
            order: BTreeMap::new(),
        }
    }

    fn run(&mut self) {
        for _ in 0..100_000 {
            if self.schedule.is_idle() {
                return;
            }
            match self.dice.roll(3) {
                0 => self.write(),
                1 => self.read(),
                _ => self.confirm(),
            }
        }
        panic!("it does not end");
    }

    fn write(&mut self) {
        while let Some(pending) = self.schedule.next() {
            let number = pending.outgoing.body.len() - FIRST;
            let order = self.schedule.depart(pending);
            self.unread.push_back((order, number));
        }
    }

    /// Reads one message, and takes it or closes the channel.
    fn read(&mut self) {
        let Some((order, number)) = self.unread.pop_front() else {
            return;
        };
        let words = match self.kinds[number] {
            Kind::Innocent => {
                let count = self.arrivals.entry(number).or_default();
                *count += 1;
                if *count == 1 {
                    let last = self.order.insert(target(number), number);
                    assert!(
                        last.is_none_or(|last| last < number),
                        "{number} after {last:?}"
                    );
                }
                self.unconfirmed.push(order);
                // It has answered the request after a suspect.
                if self.dice.roll(2) == 0 {
                    self.schedule.clear(order);
                }
                return;
            }
            Kind::Sized => format!("message size {} larger than", FIRST + number),
            Kind::Unnamed => "invalid message".to_owned(),
        };
        self.unread.clear();
        self.unconfirmed.clear();
        let error = AMQPError::new(AMQPSoftError::PRECONDITIONFAILED.into(), words.into());
        let refusal = Refusal::of(&lapin::ErrorKind::ProtocolError(error).into());
        self.schedule.recover(refusal.as_ref());
    }

    /// Confirms one message.
    fn confirm(&mut self) {
        if self.unconfirmed.is_empty() {
            return;
        }
        let index = self.dice.roll(self.unconfirmed.len());
        let confirmed = Confirmed {
            acked: true,
            returned: None,
        };
        let order = self.unconfirmed.swap_remove(index);
        self.schedule.confirm(order, confirmed);
        self.schedule.end_round();
    }
}

#[test]
fn innocent_messages_arrive_once_or_twice_in_the_order_of_their_target() {
    for seed in 0..2000 {
        let mut simulation = Simulation::new(seed);
        simulation.run();
        for number in 0..ALL {
            let outcome = simulation.outcomes[number].try_recv().expect("an outcome");
            let count = simulation
                .arrivals
                .get(&number)
                .copied()
                .unwrap_or_default();
            let kind = simulation.kinds[number];
            let text =
                format!("seed {seed}, message {number}, {kind:?}, {count} times: {outcome:?}");
            match kind {
                Kind::Innocent => assert!(outcome.is_ok() && (1..=2).contains(&count), "{text}"),
                Kind::Sized | Kind::Unnamed => assert!(outcome.is_err() && count == 0, "{text}"),
            }
        }
    }
}
