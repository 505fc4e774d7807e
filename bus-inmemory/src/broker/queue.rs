//! Queue: waiting messages, consumers, and messages that are given up.

use std::sync::Arc;

use bus_core::topology;
use bus_core::transport::{Settlement, TransportError};
use tokio::time::Instant;

use super::consumers::{ConnectionId, Consumer, ConsumerId, Consumers};
use super::flow::{Flow, GivenUp};
use super::message::{Entry, Message, Name, Turn};
use super::ready::Ready;
use super::settings::{Arguments, Overflow, Settings};
use crate::broker::errors;

/// One queue.
///
/// Between operations, messages wait only while no consumer has room.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) name: Name,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    /// Connection to which it is exclusive.
    pub(crate) owner: Option<ConnectionId>,
    pub(crate) arguments: Arguments,
    pub(crate) settings: Settings,
    pub(crate) ready: Ready,
    pub(crate) consumers: Consumers,
    /// Time since which it has no consumer.
    pub(crate) unused_since: Instant,
    /// Time at which the timer looks for expired messages.
    pub(crate) expiry_at: Option<Instant>,
    /// Time at which the timer checks that it is still used.
    pub(crate) deletion_at: Option<Instant>,
    next_position: u64,
}

impl Queue {
    pub(crate) fn new(
        declared: &topology::Queue,
        arguments: Arguments,
        owner: ConnectionId,
    ) -> Result<Self, TransportError> {
        let settings = Settings::read(&declared.name, &arguments)?;
        Ok(Self {
            name: declared.name.as_str().into(),
            durable: declared.durable,
            auto_delete: declared.auto_delete,
            owner: declared.exclusive.then_some(owner),
            arguments,
            ready: Ready::new(settings.max_priority),
            settings,
            consumers: Consumers::default(),
            unused_since: Instant::now(),
            expiry_at: None,
            deletion_at: None,
            next_position: 0,
        })
    }

    /// Takes a message in.
    ///
    /// # Errors
    /// Fails if the queue is full and refuses.
    pub(crate) fn put(
        &mut self,
        message: Arc<Message>,
        turn: Turn,
        flow: &mut Flow,
    ) -> Result<(), TransportError> {
        let ttl = [message.content.ttl, self.settings.message_ttl];
        let ttl = ttl.into_iter().flatten().min();
        let entry = Entry {
            // A time beyond the calendar is never.
            expires: ttl.and_then(|ttl| Instant::now().checked_add(ttl)),
            message,
            position: self.next_position,
            turn,
            redelivered: turn == Turn::Second,
            returns: 0,
        };
        self.next_position += 1;
        // Handed over at once, even if its TTL is zero.
        if self.ready.is_empty()
            && let Some(consumer) = self.consumers.next(self.settings.single_active_consumer)
        {
            consumer.hand(entry, flow);
            return Ok(());
        }
        self.store(entry, flow)
    }

    fn store(&mut self, entry: Entry, flow: &mut Flow) -> Result<(), TransportError> {
        let limit = self.settings.max_length.unwrap_or(u64::MAX);
        if self.ready.len() as u64 >= limit && self.settings.overflow != Overflow::DropHead {
            if self.settings.overflow == Overflow::RejectPublishDeadLetter {
                self.give_up(entry, flow);
            }
            return Err(errors::full(&self.name, limit));
        }
        self.ready.put(entry);
        while self.ready.len() as u64 > limit
            && let Some(oldest) = self.ready.pop()
        {
            self.give_up(oldest, flow);
        }
        self.expire(flow);
        Ok(())
    }

    /// Gives up messages that have waited too long.
    pub(crate) fn expire(&mut self, flow: &mut Flow) {
        while let Some(entry) = self.ready.pop_expired() {
            self.give_up(entry, flow);
        }
    }

    fn give_up(&mut self, entry: Entry, flow: &mut Flow) {
        if let Some(to) = self.settings.dead_letter.clone() {
            let by = Arc::clone(&self.name);
            flow.given_up.push_back(GivenUp { by, entry, to });
        }
    }

    /// Hands out waiting messages that are not expired to consumers with room.
    fn serve(&mut self, flow: &mut Flow) {
        loop {
            self.expire(flow);
            if self.ready.is_empty() {
                return;
            }
            let Some(consumer) = self.consumers.next(self.settings.single_active_consumer) else {
                return;
            };
            if let Some(entry) = self.ready.pop() {
                consumer.hand(entry, flow);
            }
        }
    }

    /// Adds a consumer.
    ///
    /// # Errors
    /// Fails if it, or the one that is there, wants the queue for itself.
    pub(crate) fn subscribe(
        &mut self,
        consumer: Consumer,
        flow: &mut Flow,
    ) -> Result<(), TransportError> {
        let in_conflict = |other: &Consumer| consumer.exclusive || other.exclusive;
        if self.consumers.subscribed().any(in_conflict) {
            return Err(errors::exclusive_use(&self.name));
        }
        self.consumers.add(consumer);
        self.serve(flow);
        Ok(())
    }

    /// Sets the number of messages that a consumer may have at once.
    pub(crate) fn set_prefetch(&mut self, id: ConsumerId, prefetch: u16, flow: &mut Flow) {
        if let Some(consumer) = self.consumers.get(id) {
            consumer.set_prefetch(prefetch);
        }
        self.serve(flow);
    }

    /// Ends a subscription.
    ///
    /// A message that was not pulled was seen by no consumer: it goes back unmarked.
    pub(crate) fn unsubscribe(&mut self, id: ConsumerId, flow: &mut Flow) {
        self.take_leave(id, flow);
        self.serve(flow);
    }

    /// Forgets a consumer; its pulled and unsettled messages go back.
    pub(crate) fn remove(&mut self, id: ConsumerId, flow: &mut Flow) {
        self.take_leave(id, flow);
        if let Some(mut consumer) = self.consumers.remove(id) {
            for entry in consumer.abandon(flow) {
                self.give_back(entry, flow);
            }
        }
        // Only now, so that others get what came back before what is younger.
        self.serve(flow);
    }

    fn take_leave(&mut self, id: ConsumerId, flow: &mut Flow) {
        let consumer = self.consumers.get(id);
        let Some(consumer) = consumer.filter(|consumer| consumer.subscribed) else {
            return;
        };
        for entry in consumer.unsubscribe(flow) {
            self.ready.put(entry);
        }
        if self.consumers.subscribed().next().is_none() {
            self.unused_since = Instant::now();
        }
    }

    /// Settles one delivery, and returns the message if it is not in the queue then.
    ///
    /// Does nothing for a consumer that is gone.
    pub(crate) fn settle(
        &mut self,
        id: ConsumerId,
        tag: u64,
        settlement: Settlement,
        flow: &mut Flow,
    ) -> Option<Entry> {
        let consumer = self.consumers.get(id);
        let entry = consumer.and_then(|consumer| consumer.settle(tag, flow))?;
        let leaving = match settlement {
            Settlement::Ack | Settlement::Defer(_) => Some(entry),
            _ => {
                self.give_back(entry, flow);
                None
            }
        };
        self.serve(flow);
        leaving
    }

    /// Takes back a message that was deferred.
    pub(crate) fn take_back(&mut self, entry: Entry, flow: &mut Flow) {
        self.give_back(entry, flow);
        self.serve(flow);
    }

    /// Takes back a message that a consumer has seen, at its old place.
    fn give_back(&mut self, mut entry: Entry, flow: &mut Flow) {
        entry.redelivered = true;
        if self.settings.quorum {
            entry.returns = entry.returns.saturating_add(1);
            if self
                .settings
                .delivery_limit
                .is_some_and(|limit| entry.returns > limit)
            {
                self.give_up(entry, flow);
                return;
            }
        }
        self.ready.put(entry);
    }

    /// Returns `true` if it is auto-delete and has no consumer.
    pub(crate) fn is_over(&self) -> bool {
        self.auto_delete && self.consumers.subscribed().next().is_none()
    }

    /// Time at which it is deleted, unless it is used before; `None` while it is used.
    pub(crate) fn unused_until(&self) -> Option<Instant> {
        if self.consumers.subscribed().next().is_some() {
            return None;
        }
        self.unused_since.checked_add(self.settings.expires?)
    }

    /// Ends all consumers of a queue that is being deleted.
    pub(crate) fn end(&mut self, flow: &mut Flow) {
        for consumer in self.consumers.iter_mut() {
            consumer.unsubscribe(flow);
            drop(consumer.abandon(flow));
        }
    }
}
