//! The pure step: an event, an instance, and what follows.

use std::sync::Arc;

use bus_core::consume::AnyMessage;
use bus_core::error::FailureKind;
use bus_core::{ConsumeError, ConsumeResult};

use crate::definition::{Course, Declared, Definition, EventKind};
use crate::error::SagaError;
use crate::meta::Postponed;
use crate::missing::Unexpected;
use crate::on::foreign_choice;
use crate::reaction::{Do, Leads, Reaction};
use crate::saga::{Saga, SagaState};
use crate::turn::Turn;

/// Most events that wait in one instance, and most bytes of one of them.
const MOST_POSTPONED: usize = 100;
const LARGEST_POSTPONED: usize = 64 * 1024;

impl<S: Saga> Definition<S> {
    /// Handles an event, and those that it sets free.
    ///
    /// The instance is new, or in a state that is not its end.
    pub(crate) async fn handle(
        &self,
        event: usize,
        message: &AnyMessage,
        turn: &mut Turn<'_, S>,
    ) -> ConsumeResult {
        self.end_timer(event, turn);
        self.once(event, message, turn).await?;
        while !turn.instance.is_finished {
            if let Some(composite) = self.next_composite(turn) {
                let name = self.events[composite].name.clone();
                turn.instance.meta.seen.remove(&name);
                turn.instance.meta.raised.insert(name);
                self.once(composite, &(), turn).await?;
            } else if let Some((event, message)) = self.next_postponed(turn)? {
                self.once(event, &*message, turn).await?;
            } else {
                break;
            }
        }
        Ok(())
    }

    /// Notes that a timeout or a request is over.
    fn end_timer(&self, event: usize, turn: &mut Turn<'_, S>) {
        let kind = &self.events[event].kind;
        let Some(timer) = kind.timer() else { return };
        let name = &self.timers[timer].name;
        if matches!(kind, EventKind::Answer(_)) {
            turn.cancel(name);
        } else {
            turn.instance.meta.timers.remove(name);
        }
    }

    /// Handles one event by the state as it is.
    async fn once(
        &self,
        event: usize,
        message: &AnyMessage,
        turn: &mut Turn<'_, S>,
    ) -> ConsumeResult {
        let declared = &self.events[event];
        let Some(state) = turn.instance.state else {
            let data = &turn.instance.data;
            return match self.beginning(event, data, message) {
                Some(reaction) => self.run(reaction, message, turn).await,
                None => Err(missing(declared, turn)),
            };
        };
        match self.course(state, event, &turn.instance.data, message) {
            Course::React(reaction) => self.run(reaction, message, turn).await,
            Course::Settle(Unexpected::Ignore) => {
                self.see(event, turn);
                Ok(())
            }
            Course::Settle(Unexpected::Postpone) => postpone(declared, message, turn),
            Course::Settle(Unexpected::Fault) | Course::Unknown => Err(SagaError::Unexpected {
                saga: S::NAME,
                event: declared.label.clone(),
                state: state.name(),
                id: turn.instance.id,
            }
            .into_consume_error()),
        }
    }

    /// Runs a reaction, or those that it has for when a step fails.
    async fn run(
        &self,
        mut reaction: &Reaction<S>,
        message: &AnyMessage,
        turn: &mut Turn<'_, S>,
    ) -> ConsumeResult {
        while let Some(otherwise) = &reaction.otherwise {
            let before = turn.before()?;
            match self.try_run(reaction, message, turn).await {
                Err(error) if is_failure(&error) => turn.undo(before, error),
                result => return result,
            }
            reaction = otherwise;
        }
        self.try_run(reaction, message, turn).await
    }

    async fn try_run(
        &self,
        reaction: &Reaction<S>,
        message: &AnyMessage,
        turn: &mut Turn<'_, S>,
    ) -> ConsumeResult {
        for step in &reaction.steps {
            match step {
                Do::Run(run) => run(turn, message)?,
                Do::Activity { name, run } => {
                    let failed = |error: &ConsumeError| {
                        tracing::debug!(saga = S::NAME, activity = name, %error, "the activity failed");
                    };
                    run.run(turn, message).await.inspect_err(failed)?;
                }
            }
        }
        match &reaction.leads {
            Leads::Stay => {}
            Leads::To(state) => turn.instance.state = Some(*state),
            Leads::Chosen(choose, _) => {
                let chosen = choose(&turn.instance.data, message);
                turn.instance.state = Some(chosen.ok_or_else(foreign_choice::<S>)?);
            }
            Leads::Finish => turn.finish(),
        }
        if !turn.instance.is_finished {
            self.see(reaction.event, turn);
        }
        Ok(())
    }

    /// Notes that a member of composite events has come.
    fn see(&self, event: usize, turn: &mut Turn<'_, S>) {
        let meta = &mut turn.instance.meta;
        for composite in &self.events {
            let EventKind::Composite(members) = &composite.kind else {
                continue;
            };
            if members.contains(&event) && !meta.raised.contains(&composite.name) {
                let seen = meta.seen.entry(composite.name.clone()).or_default();
                seen.insert(self.events[event].name.clone());
            }
        }
    }

    /// Returns a composite event that is complete, if the state reacts to it.
    fn next_composite(&self, turn: &Turn<'_, S>) -> Option<usize> {
        let instance = &turn.instance;
        let state = instance.state?;
        let is_next = |(index, composite): &(usize, &Declared)| {
            let EventKind::Composite(members) = &composite.kind else {
                return false;
            };
            let Some(seen) = instance.meta.seen.get(&composite.name) else {
                return false;
            };
            let has_come = |member: &usize| seen.contains(&self.events[*member].name);
            members.iter().all(has_come)
                && matches!(
                    self.course(state, *index, &instance.data, &()),
                    Course::React(_)
                )
        };
        let mut events = self.events.iter().enumerate();
        events.find(is_next).map(|(index, _)| index)
    }

    /// Takes the first event that waited for another state than the present one.
    fn next_postponed(
        &self,
        turn: &mut Turn<'_, S>,
    ) -> ConsumeResult<Option<(usize, Arc<AnyMessage>)>> {
        let Some(state) = turn.instance.state else {
            return Ok(None);
        };
        for place in 0..turn.instance.meta.postponed.len() {
            let waiting = &turn.instance.meta.postponed[place];
            let (event, message) = self.revive(waiting).map_err(|source| {
                ConsumeError::permanent(SagaError::Unreadable {
                    saga: S::NAME,
                    id: turn.instance.id,
                    part: "postponed event",
                    source,
                })
            })?;
            let course = self.course(state, event, &turn.instance.data, &*message);
            if !matches!(course, Course::Settle(Unexpected::Postpone)) {
                turn.instance.meta.postponed.remove(place);
                return Ok(Some((event, message)));
            }
        }
        Ok(None)
    }

    fn revive(&self, waiting: &Postponed) -> serde_json::Result<(usize, Arc<AnyMessage>)> {
        use serde::de::Error;
        let named = |it: &Declared| it.name == waiting.event;
        let event = self.events.iter().position(named);
        let unknown = || serde_json::Error::custom(format!("`{}` is no event", waiting.event));
        let event = event.ok_or_else(unknown)?;
        let wire = self.events[event].wire.as_ref().ok_or_else(unknown)?;
        Ok((event, (wire.decode)(&waiting.message)?))
    }
}

/// Returns `false` if the attempt is only to run again, or at another time.
fn is_failure(error: &ConsumeError) -> bool {
    matches!(
        error.kind(),
        FailureKind::Failed | FailureKind::Permanent | FailureKind::TimedOut
    )
}

fn missing<S: Saga>(declared: &Declared, turn: &Turn<'_, S>) -> ConsumeError {
    SagaError::Missing {
        saga: S::NAME,
        event: declared.label.clone(),
        instance: turn.instance.id.to_string(),
    }
    .into_consume_error()
}

/// Keeps an event in the instance.
fn postpone<S: Saga>(
    declared: &Declared,
    message: &AnyMessage,
    turn: &mut Turn<'_, S>,
) -> ConsumeResult {
    // A composite event waits by itself.
    let Some(wire) = &declared.wire else {
        return Ok(());
    };
    let id = turn.instance.id;
    let message = (wire.encode)(message).map_err(|source| {
        ConsumeError::permanent(SagaError::Unreadable {
            saga: S::NAME,
            id,
            part: "postponed event",
            source,
        })
    })?;
    let waiting = &mut turn.instance.meta.postponed;
    let limit = if waiting.len() >= MOST_POSTPONED {
        Some("100 events")
    } else {
        (message.len() > LARGEST_POSTPONED).then_some("64 KiB")
    };
    if let Some(limit) = limit {
        return Err(ConsumeError::permanent(SagaError::PostponesTooMuch {
            saga: S::NAME,
            id,
            event: declared.label.clone(),
            limit,
        }));
    }
    waiting.push(Postponed {
        event: declared.name.clone(),
        message,
    });
    Ok(())
}
