//! Conditions on which a queue gets a message.

use std::collections::BTreeMap;

use super::matching::headers_match;
use super::{Binding, ExchangeKind, topic};
use crate::message::{HeaderValue, Headers};

/// One condition on a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Its routing key is this one.
    Key(String),
    /// Its routing key matches this pattern of a topic exchange, which has wildcards.
    Pattern(String),
    /// Its headers match these arguments of a binding to a headers exchange.
    Headers(BTreeMap<String, HeaderValue>),
}

impl Condition {
    /// Returns the condition of a binding; `None` if every message takes it.
    pub(super) fn of(kind: ExchangeKind, binding: &Binding) -> Option<Self> {
        let key = &binding.routing_key;
        match kind {
            ExchangeKind::Fanout => None,
            ExchangeKind::Topic if key == "#" => None,
            ExchangeKind::Topic if key.split('.').any(|word| word == "*" || word == "#") => {
                Some(Self::Pattern(key.clone()))
            }
            ExchangeKind::Direct | ExchangeKind::Topic => Some(Self::Key(key.clone())),
            ExchangeKind::Headers => {
                (!binding.arguments.is_empty()).then(|| Self::Headers(binding.arguments.clone()))
            }
        }
    }

    /// Returns `true` if a message fulfils the condition.
    pub fn matches(&self, routing_key: &str, headers: &Headers) -> bool {
        match self {
            Self::Key(key) => key == routing_key,
            Self::Pattern(pattern) => topic::matches(pattern, routing_key),
            Self::Headers(arguments) => headers_match(arguments, headers),
        }
    }
}

/// Conditions of one path from an exchange to a queue, all to be fulfilled.
#[derive(Clone, Debug, Default)]
pub(super) struct Path(Vec<Condition>);

impl Path {
    /// Returns the path with a further condition; `None` if no message could take it.
    pub(super) fn and(&self, further: Option<Condition>) -> Option<Self> {
        let mut path = self.clone();
        let Some(further) = further else {
            return Some(path);
        };
        let conditions = &mut path.0;
        let key = conditions.iter().find_map(|condition| match condition {
            Condition::Key(key) => Some(key),
            _ => None,
        });
        match (key, &further) {
            (Some(key), Condition::Key(other)) => return (key == other).then_some(path),
            (Some(key), Condition::Pattern(pattern)) => {
                return topic::matches(pattern, key).then_some(path);
            }
            (None, Condition::Key(key)) => {
                let refuses = |condition: &Condition| match condition {
                    Condition::Pattern(pattern) => !topic::matches(pattern, key),
                    _ => false,
                };
                if conditions.iter().any(refuses) {
                    return None;
                }
                conditions.retain(|condition| !matches!(condition, Condition::Pattern(_)));
            }
            _ => {}
        }
        if !conditions.contains(&further) {
            conditions.push(further);
        }
        Some(path)
    }
}

/// Choice of a queue among the messages of an exchange.
///
/// A message is chosen if it fulfils all conditions of one of the alternatives. There is no
/// alternative that another one implies: a queue that gets everything has a single one, without
/// conditions. The default has no alternative, and so chooses nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    any_of: Vec<Vec<Condition>>,
}

impl Filter {
    /// Returns the alternatives, each with the conditions that it demands together.
    pub fn alternatives(&self) -> &[Vec<Condition>] {
        &self.any_of
    }

    /// Returns `true` if every message is chosen.
    pub fn takes_all(&self) -> bool {
        self.any_of.iter().any(Vec::is_empty)
    }

    /// Returns `true` if a message is chosen.
    pub fn matches(&self, routing_key: &str, headers: &Headers) -> bool {
        self.any_of
            .iter()
            .any(|all| all.iter().all(|one| one.matches(routing_key, headers)))
    }

    /// Adds an alternative; returns `false` if another one implies it.
    pub(super) fn add(&mut self, Path(conditions): Path) -> bool {
        let within = |few: &[Condition], many: &[Condition]| few.iter().all(|c| many.contains(c));
        if self.any_of.iter().any(|known| within(known, &conditions)) {
            return false;
        }
        self.any_of.retain(|known| !within(&conditions, known));
        self.any_of.push(conditions);
        true
    }
}
