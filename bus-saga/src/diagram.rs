//! Pictures of a state machine.

use std::fmt::Write;

use crate::definition::Definition;
use crate::machine::StateMachine;
use crate::reaction::Reaction;
use crate::saga::{Saga, SagaState};

/// Arrow between two states; `None` is the beginning, or the end.
struct Arrow {
    from: Option<&'static str>,
    to: Option<&'static str>,
    label: String,
}

impl<S: Saga> StateMachine<S> {
    /// Draws the machine as a state diagram of Mermaid.
    ///
    /// An arrow has the event, and the activities behind a slash. The same each time for the same
    /// machine: kept in a file of the repository that a test
    /// compares, it shows what a change does to the process.
    ///
    /// ```
    /// # use bus_core::Message;
    /// # use bus_saga::{Saga, SagaState, StateMachine, by};
    /// # use serde::{Deserialize, Serialize};
    /// # use uuid::Uuid;
    /// # #[derive(Default, Serialize, Deserialize)] struct Order {}
    /// # #[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)] enum Stage { Unpaid }
    /// # impl Saga for Order { type State = Stage; const NAME: &'static str = "order"; }
    /// # #[derive(Serialize, Deserialize, Message)] #[message("Shop:OrderPlaced")]
    /// # struct OrderPlaced { order_id: Uuid }
    /// # #[derive(Serialize, Deserialize, Message)] #[message("Shop:OrderPaid")]
    /// # struct OrderPaid { order_id: Uuid }
    /// let mut saga = StateMachine::<Order>::new();
    /// let placed = saga.event(by::id(|it: &OrderPlaced| it.order_id));
    /// let paid = saga.event(by::id(|it: &OrderPaid| it.order_id));
    /// saga.initially(placed, |on| on.go(Stage::Unpaid))
    ///     .during(Stage::Unpaid, paid, |on| on.finish());
    ///
    /// let picture = "\
    /// stateDiagram-v2
    ///     [*] --> Unpaid: OrderPlaced
    ///     Unpaid --> [*]: OrderPaid
    /// ";
    /// assert_eq!(saga.mermaid(), picture);
    /// ```
    pub fn mermaid(&self) -> String {
        let mut text = String::from("stateDiagram-v2\n");
        for state in S::State::ALL {
            let (name, id) = (state.name(), id(state.name()));
            if id != name {
                let name = name.replace('"', "'");
                let _ = writeln!(text, "    state \"{name}\" as {id}");
            }
        }
        let name = |name: Option<&str>| name.map_or("[*]".to_owned(), id);
        for Arrow { from, to, label } in self.definition.arrows() {
            let label = label.replace([':', ';'], " ");
            let _ = writeln!(text, "    {} --> {}: {label}", name(from), name(to));
        }
        text
    }

    /// Draws the machine as a graph of Graphviz, in the language DOT.
    ///
    /// As [`mermaid`](Self::mermaid), for `dot -Tsvg`.
    pub fn graphviz(&self) -> String {
        let quoted =
            |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let mut text = format!("digraph {} {{\n    rankdir=LR;\n", quoted(S::NAME));
        text.push_str("    node [shape=box, style=rounded];\n");
        text.push_str(
            "    \"begin\" [shape=point];\n    \"end\" [shape=doublecircle, label=\"\"];\n",
        );
        for Arrow { from, to, label } in self.definition.arrows() {
            let from = from.map_or("begin".to_owned(), |name| format!("state {name}"));
            let to = to.map_or("end".to_owned(), |name| format!("state {name}"));
            let label = quoted(&label);
            let _ = writeln!(
                text,
                "    {} -> {} [label={label}];",
                quoted(&from),
                quoted(&to)
            );
        }
        for state in S::State::ALL {
            let (node, label) = (
                quoted(&format!("state {}", state.name())),
                quoted(state.name()),
            );
            let _ = writeln!(text, "    {node} [label={label}];");
        }
        text.push_str("}\n");
        text
    }
}

impl<S: Saga> Definition<S> {
    /// Returns the arrows, those of the beginning first, then by states and events.
    fn arrows(&self) -> Vec<Arrow> {
        let mut arrows = Vec::new();
        for reaction in self.reactions.iter().filter(|it| it.from.is_initial()) {
            self.draw_all(reaction, None, &mut arrows);
        }
        for &state in S::State::ALL {
            for event in 0..self.events.len() {
                for reaction in self.possible_in(state, event) {
                    self.draw_all(reaction, Some(state), &mut arrows);
                }
            }
        }
        arrows
    }

    fn draw_all(&self, reaction: &Reaction<S>, from: Option<S::State>, arrows: &mut Vec<Arrow>) {
        let event = &self.events[reaction.event].label;
        let condition = reaction.guard.as_ref().map_or("", |_| " (on a condition)");
        for (place, reaction) in reaction.alternatives().enumerate() {
            let failure = if place == 0 { "" } else { " (on failure)" };
            let label = format!("{event}{condition}{failure}");
            Self::draw(reaction, from, label, arrows);
        }
    }

    fn draw(
        reaction: &Reaction<S>,
        from: Option<S::State>,
        mut label: String,
        arrows: &mut Vec<Arrow>,
    ) {
        let activities: Vec<_> = reaction.activities().collect();
        if !activities.is_empty() {
            label.push_str(" / ");
            label.push_str(&activities.join(", "));
        }
        for to in reaction.targets(from) {
            arrows.push(Arrow {
                from: from.map(SagaState::name),
                to: to.map(SagaState::name),
                label: label.clone(),
            });
        }
    }
}

/// The name of a state as Mermaid takes it.
fn id(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() { c } else { '_' };
    name.chars().map(plain).collect()
}
