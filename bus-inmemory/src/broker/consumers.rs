//! Consumers of one queue, and the choice of the next one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;

use super::flow::Flow;
use super::message::Entry;

/// Identifier of a connection of a broker.
pub(crate) type ConnectionId = u64;

/// Identifier of a consumer of a broker; never used again.
pub(crate) type ConsumerId = u64;

/// One consumer, with the messages that were handed to it.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) id: ConsumerId,
    pub(crate) connection: ConnectionId,
    pub(crate) priority: i32,
    pub(crate) exclusive: bool,
    prefetch: usize,
    /// `true` while it gets messages; otherwise it only settles.
    pub(crate) subscribed: bool,
    /// Messages that were handed to it and not pulled yet.
    buffer: VecDeque<Entry>,
    /// Pulled and unsettled messages, by tag.
    unsettled: BTreeMap<u64, Entry>,
    next_tag: u64,
    signal: Arc<Notify>,
}

impl Consumer {
    pub(crate) fn new(id: ConsumerId, connection: ConnectionId, prefetch: u16) -> Self {
        Self {
            id,
            connection,
            priority: 0,
            exclusive: false,
            prefetch: usize::from(prefetch.max(1)),
            subscribed: true,
            buffer: VecDeque::new(),
            unsettled: BTreeMap::new(),
            next_tag: 0,
            signal: Arc::default(),
        }
    }

    /// Signal that wakes when there is something to pull, or nothing any more.
    pub(crate) fn signal(&self) -> Arc<Notify> {
        Arc::clone(&self.signal)
    }

    /// Sets the number of messages that it may have; those that it has stay.
    pub(crate) fn set_prefetch(&mut self, prefetch: u16) {
        self.prefetch = usize::from(prefetch.max(1));
    }

    pub(crate) fn load(&self) -> usize {
        self.buffer.len() + self.unsettled.len()
    }

    fn has_room(&self) -> bool {
        self.subscribed && self.load() < self.prefetch
    }

    /// Takes a message over.
    ///
    /// All waiters are woken, not one: a waiter may be part of a task that is busy elsewhere, and
    /// would keep the signal from those that are idle. Only the first message of a buffer can find
    /// any.
    pub(crate) fn hand(&mut self, entry: Entry, flow: &mut Flow) {
        if self.buffer.is_empty() {
            flow.wakes.push(self.signal());
        }
        self.buffer.push_back(entry);
        flow.in_flight += 1;
    }

    /// Gives the oldest message to the caller, who will settle its tag.
    pub(crate) fn pull(&mut self) -> Option<(u64, &Entry)> {
        let entry = self.buffer.pop_front()?;
        let tag = self.next_tag;
        self.next_tag += 1;
        Some((tag, self.unsettled.entry(tag).or_insert(entry)))
    }

    pub(crate) fn settle(&mut self, tag: u64, flow: &mut Flow) -> Option<Entry> {
        let entry = self.unsettled.remove(&tag)?;
        flow.in_flight -= 1;
        Some(entry)
    }

    /// Ends the subscription; returns the messages that were not pulled.
    pub(crate) fn unsubscribe(&mut self, flow: &mut Flow) -> VecDeque<Entry> {
        self.subscribed = false;
        flow.wakes.push(self.signal());
        flow.in_flight -= self.buffer.len();
        std::mem::take(&mut self.buffer)
    }

    /// Gives up the messages that were pulled and not settled.
    pub(crate) fn abandon(&mut self, flow: &mut Flow) -> impl Iterator<Item = Entry> + use<> {
        flow.in_flight -= self.unsettled.len();
        std::mem::take(&mut self.unsettled).into_values()
    }

    /// Messages that were pulled and not settled, oldest first.
    pub(crate) fn unsettled(&self) -> impl Iterator<Item = &Entry> {
        self.unsettled.values()
    }

    /// Messages that were not pulled yet, oldest first.
    pub(crate) fn buffered(&self) -> impl Iterator<Item = &Entry> {
        self.buffer.iter()
    }
}

/// All consumers of a queue.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    all: Vec<Consumer>,
    /// Index at which the search for the next one begins, so that equals take turns.
    turn: usize,
}

impl Consumers {
    pub(crate) fn add(&mut self, consumer: Consumer) {
        self.all.push(consumer);
    }

    pub(crate) fn get(&mut self, id: ConsumerId) -> Option<&mut Consumer> {
        self.all.iter_mut().find(|consumer| consumer.id == id)
    }

    pub(crate) fn remove(&mut self, id: ConsumerId) -> Option<Consumer> {
        let index = self.all.iter().position(|consumer| consumer.id == id)?;
        Some(self.all.remove(index))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Consumer> {
        self.all.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Consumer> {
        self.all.iter_mut()
    }

    /// Consumers that get messages.
    pub(crate) fn subscribed(&self) -> impl Iterator<Item = &Consumer> {
        self.all.iter().filter(|consumer| consumer.subscribed)
    }

    /// Chooses the consumer of the next message.
    ///
    /// Of those with room it is the one of the highest priority, in turn; with a single active
    /// consumer only the first that subscribed, if it has room.
    pub(crate) fn next(&mut self, single_active: bool) -> Option<&mut Consumer> {
        let index = if single_active {
            let active = self.all.iter().position(|consumer| consumer.subscribed)?;
            self.all[active].has_room().then_some(active)?
        } else {
            let count = self.all.len();
            (0..count)
                .map(|offset| (self.turn + offset) % count)
                .filter(|index| self.all[*index].has_room())
                // The first of several with the same priority, which `max_by_key` would not give.
                .reduce(|best, index| {
                    if self.all[index].priority > self.all[best].priority {
                        index
                    } else {
                        best
                    }
                })?
        };
        self.turn = index + 1;
        self.all.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumers(priorities: &[i32]) -> Consumers {
        let mut consumers = Consumers::default();
        for (id, priority) in (0..).zip(priorities) {
            consumers.add(Consumer {
                priority: *priority,
                ..Consumer::new(id, 0, 1)
            });
        }
        consumers
    }

    fn next(consumers: &mut Consumers) -> Option<ConsumerId> {
        consumers.next(false).map(|consumer| consumer.id)
    }

    #[test]
    fn equals_take_turns() {
        let mut consumers = consumers(&[0, 0, 0]);
        let order: Vec<_> = (0..4).filter_map(|_| next(&mut consumers)).collect();
        assert_eq!(order, [0, 1, 2, 0]);
    }

    #[test]
    fn a_higher_priority_goes_first() {
        let mut consumers = consumers(&[0, 5, 5, -1]);
        let order: Vec<_> = (0..3).filter_map(|_| next(&mut consumers)).collect();
        assert_eq!(order, [1, 2, 1]);
    }

    #[test]
    fn only_the_first_is_active_alone() {
        let mut consumers = consumers(&[0, 5]);
        let active = |consumers: &mut Consumers| consumers.next(true).map(|consumer| consumer.id);
        assert_eq!(active(&mut consumers), Some(0));
        assert_eq!(active(&mut consumers), Some(0));
        consumers.remove(0);
        assert_eq!(active(&mut consumers), Some(1));
    }

    #[test]
    fn nobody_is_next_where_nobody_is() {
        assert_eq!(next(&mut Consumers::default()), None);
    }
}
