//! What a contender is made to do.

use serde::{Deserialize, Serialize};

/// How many messages are on their way at once.
pub(crate) const IN_FLIGHT: usize = 1000;

/// [`Work::PublishBesideNew`] makes a queue for so many messages.
const MESSAGES_A_QUEUE: usize = 200;

/// The name of a queue that it makes.
pub(crate) fn new_queue(number: usize) -> String {
    format!("new-{number}")
}

/// The prefetch of an endpoint that says nothing: acknowledgements then leave in small batches.
const DEFAULT_PREFETCH: u16 = 32;

/// Large bodies come in smaller numbers: so many bytes of text at most in one run.
const BYTES: usize = 400_000_000;

/// A load as data. It goes to the process of a contender as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) work: Work,
    pub(crate) store: Store,
    /// Bytes of text in each message, beside what all of them have.
    pub(crate) text: usize,
    /// Tasks that publish; they share [`IN_FLIGHT`].
    pub(crate) tasks: usize,
    /// Queues, each with an endpoint.
    pub(crate) queues: usize,
    /// Requests that wait for their answer at once.
    pub(crate) asking: usize,
    /// Messages of each transaction.
    pub(crate) together: usize,
    pub(crate) data: Data,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Publish and await the confirms.
    Publish,
    /// Publish, while another task sends to one new queue after the other.
    PublishBesideNew,
    /// Consume what is in a queue.
    Consume,
    /// Consume what is in a queue, while the first message stays open until the last was consumed.
    ConsumeBesideHeld,
    /// Both at once.
    EndToEnd,
    /// Send to each queue in turn, and consume from all.
    Spread,
    /// Ask and answer.
    Request,
    /// Publish and consume without a broker.
    InMemory,
    /// Start, and consume the message that waits.
    StartUp,
    /// End to end, and ten times as long, with a look at the memory after each.
    Resident,
    /// Consume what is in a queue, each message recognized by a store in memory.
    ConsumeIdempotent,
    /// Commit messages with a row of the application, and relay them, until the last is confirmed.
    Outbox,
    /// The same, one message after the other, with pauses.
    OutboxIdle,
    /// Consume with an inbox row, a row of the application and an event in the outbox.
    Inbox,
    /// The same, while millions of messages are known and old ones are forgotten.
    FullInbox,
    /// Relay what has waited for long.
    Backlog,
    /// Publish messages that are due in an hour.
    PublishDelayed,
    /// Consume messages that are due in one second.
    DueTogether,
}

/// A database of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Data {
    None,
    Postgres,
    Sqlite,
}

/// How a queue stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Store {
    Classic,
    Quorum,
}

impl Store {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
        }
    }
}

impl Load {
    pub(crate) fn new(work: Work, store: Store) -> Self {
        Self {
            work,
            store,
            text: 0,
            tasks: 1,
            queues: 1,
            asking: 1,
            together: 1,
            data: Data::None,
        }
    }

    /// How many messages, or requests, are measured where a plan has so many messages.
    pub(crate) fn count(&self, messages: usize) -> usize {
        match self.work {
            // A median needs no more; at a millisecond each it would be minutes.
            Work::Request if self.asking == 1 => messages / 40,
            // A request is two messages.
            Work::Request => messages / 2,
            Work::StartUp => 1,
            // A database takes thousands a second where the broker alone takes tens of thousands.
            Work::Outbox => messages / 20 * self.together,
            Work::OutboxIdle => messages / 400,
            Work::Inbox => messages / 10,
            Work::FullInbox => messages / 5,
            Work::Backlog => messages * 5,
            Work::PublishDelayed => messages / 4,
            Work::DueTogether => messages / 20,
            // What grows with the messages behind the held one must have the time to grow.
            Work::ConsumeBesideHeld => messages * 2,
            _ if self.text == 0 => messages,
            _ => messages.min(BYTES / self.text),
        }
    }

    /// Messages that an inbox knows before the load begins, where a plan has so many messages.
    pub(crate) fn known(&self, messages: usize) -> usize {
        match self.work {
            Work::FullInbox => messages * 50,
            _ => 0,
        }
    }

    /// The queues by name.
    pub(crate) fn queue_names(&self) -> Vec<String> {
        match self.queues {
            1 => vec![QUEUE.to_owned()],
            queues => (1..=queues)
                .map(|number| format!("{QUEUE}-{number}"))
                .collect(),
        }
    }

    /// How many messages the broker may have on their way to each queue's consumer.
    pub(crate) fn prefetch(&self) -> u16 {
        match self.work {
            Work::ConsumeBesideHeld => DEFAULT_PREFETCH,
            _ => u16::try_from(IN_FLIGHT / self.queues).unwrap_or(u16::MAX),
        }
    }

    /// How many queues are made while so many messages are published.
    pub(crate) fn new_queues(&self, count: usize) -> usize {
        match self.work {
            Work::PublishBesideNew => count / MESSAGES_A_QUEUE,
            _ => 0,
        }
    }

    /// Each publishing task's part of the messages, and of what may be in flight.
    pub(crate) fn shares(&self, count: usize) -> Vec<Share> {
        let part =
            |whole: usize, task: usize| whole * (task + 1) / self.tasks - whole * task / self.tasks;
        (0..self.tasks)
            .map(|task| Share {
                count: part(count, task),
                in_flight: part(IN_FLIGHT, task).max(1),
            })
            .collect()
    }
}

/// The queue of the loads.
pub(crate) const QUEUE: &str = "orders";

/// What one of several publishing tasks does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) count: usize,
    pub(crate) in_flight: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_the_tasks_are_the_whole() {
        let load = Load {
            tasks: 64,
            ..Load::new(Work::Publish, Store::Quorum)
        };
        let shares = load.shares(200_003);
        assert_eq!(shares.len(), 64);
        assert_eq!(
            shares.iter().map(|share| share.count).sum::<usize>(),
            200_003
        );
        assert_eq!(
            shares.iter().map(|share| share.in_flight).sum::<usize>(),
            IN_FLIGHT
        );
    }

    #[test]
    fn large_bodies_come_in_smaller_numbers() {
        let sized = |text| Load {
            text,
            ..Load::new(Work::Publish, Store::Quorum)
        };
        assert_eq!(sized(700).count(200_000), 200_000);
        assert_eq!(sized(1_000_000).count(200_000), 400);
    }

    #[test]
    fn a_load_survives_the_way_to_another_process() {
        let load = Load::new(Work::Request, Store::Classic);
        let text = serde_json::to_string(&load).expect("JSON");
        assert_eq!(serde_json::from_str::<Load>(&text).expect("a load"), load);
    }
}
