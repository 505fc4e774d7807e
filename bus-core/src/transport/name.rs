//! Rules for the names of queues and exchanges.

use std::borrow::Cow;

use crate::message::MAX_NAME;

/// Error for a name that no queue or exchange of a transport can have.
///
/// Its text holds the name, cut after 300 characters, and the rule that it breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` cannot name a queue or an exchange: {rule}")]
pub struct InvalidName {
    name: String,
    rule: Cow<'static, str>,
}

impl InvalidName {
    /// Creates an error for a name and the rule that it breaks.
    ///
    /// The rule is a clause without a final stop: `it has more than 80 characters`.
    pub fn new(name: &str, rule: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.chars().take(300).collect(),
            rule: rule.into(),
        }
    }

    /// Returns the name, cut after 300 characters.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the rule that the name breaks.
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

/// Refuses a name that RabbitMQ or MassTransit does not take.
pub(super) fn check(name: &str) -> Result<(), InvalidName> {
    let is_legal = |c: char| c.is_alphanumeric() || "-_.:".contains(c);
    let rule = if name.len() > MAX_NAME {
        "it is too long, a name has at most 255 bytes"
    } else if name.is_empty() || !name.chars().all(is_legal) {
        "a name must be letters, digits, `-`, `_`, `.` or `:`"
    } else if name.starts_with("amq.") {
        "names that begin with `amq.` belong to the broker"
    } else {
        return Ok(());
    };
    Err(InvalidName::new(name, rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_masstransit_are_taken() {
        for name in ["orders", "Acme.Orders:Changed--Price--", "größe_1"] {
            assert_eq!(check(name), Ok(()));
        }
        assert_eq!(check(&"x".repeat(255)), Ok(()));
    }

    #[test]
    fn other_names_are_refused_with_the_rule() {
        let long = "x".repeat(256);
        for (name, rule) in [
            ("", "letters"),
            ("two words", "letters"),
            ("a/b", "letters"),
            ("amq.topic", "belong to the broker"),
            (&long, "255 bytes"),
        ] {
            let error = check(name).unwrap_err();
            assert!(error.rule().contains(rule), "{error}");
            assert_eq!(error.name(), name);
        }
    }
}
