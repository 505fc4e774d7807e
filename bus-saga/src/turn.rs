//! The handling of one message: an instance, and what is to leave.

use std::time::Duration;

use bus_core::{Address, ConsumeContext, ConsumeError, ConsumeResult, Message};
use uuid::Uuid;

use crate::effect::{Effect, Leaving, Way};
use crate::instance::Instance;
use crate::meta::Meta;
use crate::saga::Saga;

/// The instance and the effects while a message is handled.
pub(crate) struct Turn<'a, S: Saga> {
    pub(crate) instance: &'a mut Instance<S>,
    pub(crate) effects: &'a mut Vec<Effect>,
    /// `None` in a trial.
    pub(crate) ctx: Option<&'a ConsumeContext>,
    /// The failure to which a reaction is an alternative.
    pub(crate) error: Option<ConsumeError>,
}

/// The instance and the effects before a reaction that may fail.
pub(crate) struct Before<S> {
    data: S,
    meta: Meta,
    effects: usize,
}

impl<S: Saga> Turn<'_, S> {
    /// Starts a timeout, in place of one that runs.
    pub(crate) fn schedule<T: Message>(&mut self, timer: &str, message: T, wait: Duration) {
        let token = self.start(timer);
        self.later(token, message, wait);
    }

    /// Asks another service, in place of a request that waits.
    pub(crate) fn ask<Q: Message>(&mut self, timer: &str, to: Option<Address>, query: Q) -> Uuid {
        let saga = self.instance.id;
        let token = self.start(timer);
        let leaving = Leaving::new(Way::Ask { saga, to, token }, query);
        self.effects.push(Effect::Send(leaving));
        token
    }

    /// Sends a message to the saga itself.
    pub(crate) fn later<T: Message>(&mut self, token: Uuid, message: T, wait: Duration) {
        let saga = self.instance.id;
        let leaving = Leaving::new(Way::Later { saga, token, wait }, message);
        self.effects.push(Effect::Send(leaving));
    }

    fn start(&mut self, timer: &str) -> Uuid {
        self.cancel(timer);
        let token = Uuid::now_v7();
        self.instance.meta.timers.insert(timer.to_owned(), token);
        token
    }

    /// Ends a timeout or a request; its message is ignored if it comes all the same.
    pub(crate) fn cancel(&mut self, timer: &str) {
        if let Some(token) = self.instance.meta.timers.remove(timer) {
            self.effects.push(Effect::Cancel(token));
        }
    }

    /// Keeps the requester of the message, if it wants a reply.
    pub(crate) fn keep_requester(&mut self) {
        let requester = self.ctx.and_then(ConsumeContext::requester);
        self.instance.meta.requester = requester.or(self.instance.meta.requester.take());
    }

    /// Responds to the requester that was kept, if there is one.
    pub(crate) fn respond_later<D: Message>(&mut self, document: D) {
        let way = match &self.instance.meta.requester {
            Some(requester) => Way::RespondTo(requester.clone()),
            // A trial knows no requesters, and shows the response.
            None if self.ctx.is_none() => Way::Respond,
            None => return,
        };
        self.effects.push(Effect::Send(Leaving::new(way, document)));
    }

    /// Returns what is there, for a reaction that may fail.
    ///
    /// The data goes through JSON, as on its way to the next event.
    pub(crate) fn before(&self) -> ConsumeResult<Before<S>> {
        let data = serde_json::to_string(&self.instance.data);
        let data = data.and_then(|data| serde_json::from_str(&data));
        Ok(Before {
            data: data.map_err(ConsumeError::permanent)?,
            meta: self.instance.meta.clone(),
            effects: self.effects.len(),
        })
    }

    /// Undoes a reaction that has failed.
    pub(crate) fn undo(&mut self, before: Before<S>, error: ConsumeError) {
        self.instance.data = before.data;
        self.instance.meta = before.meta;
        self.effects.truncate(before.effects);
        self.error = Some(error);
    }

    /// Ends the instance, and all that runs for it.
    pub(crate) fn finish(&mut self) {
        let meta = std::mem::take(&mut self.instance.meta);
        let running = meta.timers.into_values();
        self.effects.extend(running.map(Effect::Cancel));
        self.instance.is_finished = true;
    }
}
