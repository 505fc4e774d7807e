//! The names under which contracts travel.

use std::borrow::Cow;
use std::fmt;

/// Maximum length of an exchange or queue name in AMQP 0-9-1, in bytes.
pub const MAX_NAME: usize = 255;

/// Structured wire name of a contract: `Namespace:Outer+Inner`.
///
/// The name may have type arguments. Syntax and the two spellings follow MassTransit:
/// [`urn`](Self::urn) for the `messageType` list of an envelope, [`entity_name`](Self::entity_name)
/// for the exchange.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MessageType {
    namespace: Option<Cow<'static, str>>,
    name: Cow<'static, str>,
    arguments: Vec<MessageType>,
}

impl MessageType {
    /// Creates a name from its text form.
    ///
    /// This is the form that [`parse`](Self::parse) reads: `Namespace:Name` or
    /// `Namespace:Outer+Inner`.
    ///
    /// # Panics
    /// If the name is not valid. The derive checks names at compile time; use
    /// [`parse`](Self::parse) for names that are not literals.
    pub fn new(name: &'static str) -> Self {
        match Self::parse(name) {
            Ok(parsed) => parsed,
            Err(error) => panic!("{error}"),
        }
    }

    /// Reads the text form, type arguments included: `Ns:Name[[Ns:A],[Ns:B]]`.
    ///
    /// # Errors
    /// [`InvalidMessageType`] names the text and the reason. An exchange name over [`MAX_NAME`]
    /// bytes is also an error.
    pub fn parse(text: &str) -> Result<Self, InvalidMessageType> {
        let invalid = |reason: &'static str| InvalidMessageType {
            name: text.chars().take(300).collect(),
            reason,
        };
        let (plain, arguments) = match text.split_once('[') {
            None => (text, Vec::new()),
            Some((plain, rest)) => {
                let inner = rest
                    .strip_suffix(']')
                    .ok_or_else(|| invalid("the bracket after the name is not closed"))?;
                (
                    plain,
                    split_arguments(inner)
                        .ok_or_else(|| invalid("type arguments are not written as [[A],[B]]"))?,
                )
            }
        };
        let arguments = arguments
            .into_iter()
            .map(Self::parse)
            .collect::<Result<Vec<_>, _>>()?;
        let (namespace, name) = match plain.rsplit_once(':') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, plain),
        };
        if namespace.is_some_and(|namespace| !namespace.split('.').all(is_identifier)) {
            return Err(invalid("the namespace must be identifiers joined by '.'"));
        }
        if !name.split('+').all(is_identifier) {
            return Err(invalid(
                "the name must be identifiers, nested ones joined by '+'",
            ));
        }
        let parsed = Self {
            namespace: namespace.map(|n| Cow::Owned(n.to_owned())),
            name: Cow::Owned(name.to_owned()),
            arguments,
        };
        if parsed.entity_name().len() > MAX_NAME {
            return Err(invalid("the exchange name would be longer than 255 bytes"));
        }
        Ok(parsed)
    }

    /// Returns the same name with type arguments, as for `Fault<T>`.
    ///
    /// They replace those that it has. The name may become longer than [`parse`](Self::parse)
    /// allows: as every name of an exchange, it is checked by the
    /// [transport](crate::transport::Transport::check_name). One that is refused is a
    /// configuration mistake of the endpoint that needs it, and an error of the publisher's call.
    #[must_use]
    pub fn with_arguments(mut self, arguments: impl IntoIterator<Item = MessageType>) -> Self {
        self.arguments = arguments.into_iter().collect();
        self
    }

    /// Returns the namespace, if the name has one.
    ///
    /// A contract that .NET is to consume needs one.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Returns the text form without the URN prefix.
    ///
    /// An example is `Acme:Fault[[Acme:Order]]`.
    pub fn qualified(&self) -> String {
        let mut text = String::new();
        self.write_qualified(&mut text);
        text
    }

    /// Returns `urn:message:` and the text form, as the `messageType` list holds it.
    pub fn urn(&self) -> String {
        let mut text = String::from("urn:message:");
        self.write_qualified(&mut text);
        text
    }

    /// Returns the name of the type's exchange, as MassTransit spells it for RabbitMQ.
    ///
    /// A [transport](crate::transport::Transport::entity_name) may spell it otherwise. Nested types
    /// are joined by `-`, arguments written as `--A::B--`; an argument's namespace is left out
    /// where it is the same as that of the type around it.
    pub fn entity_name(&self) -> String {
        let mut text = String::new();
        self.write_entity(&mut text, None);
        text
    }

    fn write_qualified(&self, text: &mut String) {
        if let Some(namespace) = &self.namespace {
            text.push_str(namespace);
            text.push(':');
        }
        text.push_str(&self.name);
        if self.arguments.is_empty() {
            return;
        }
        text.push('[');
        for (index, argument) in self.arguments.iter().enumerate() {
            text.push_str(if index == 0 { "[" } else { ",[" });
            argument.write_qualified(text);
            text.push(']');
        }
        text.push(']');
    }

    fn write_entity(&self, text: &mut String, enclosing: Option<&str>) {
        if let Some(namespace) = self
            .namespace
            .as_deref()
            .filter(|namespace| Some(*namespace) != enclosing)
        {
            text.push_str(namespace);
            text.push(':');
        }
        text.extend(self.name.chars().map(|c| if c == '+' { '-' } else { c }));
        if self.arguments.is_empty() {
            return;
        }
        text.push_str("--");
        for (index, argument) in self.arguments.iter().enumerate() {
            if index > 0 {
                text.push_str("::");
            }
            argument.write_entity(text, self.namespace.as_deref());
        }
        text.push_str("--");
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.qualified())
    }
}

/// Error for a wire name that cannot be used; its text gives the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a message type name: {reason}; write it as Namespace:Name")]
pub struct InvalidMessageType {
    name: String,
    reason: &'static str,
}

fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_')
}

/// Splits `[A],[B[[C]]]` into `A` and `B[[C]]`.
fn split_arguments(text: &str) -> Option<Vec<&str>> {
    let mut arguments = Vec::new();
    let mut rest = text;
    loop {
        let (mut depth, mut end) = (0usize, None);
        for (index, byte) in rest.bytes().enumerate() {
            match byte {
                b'[' => depth += 1,
                b']' if depth <= 1 => {
                    end = (depth == 1).then_some(index);
                    break;
                }
                b']' => depth -= 1,
                _ => {}
            }
        }
        let end = end?;
        arguments.push(rest.strip_prefix('[')?.get(..end - 1)?);
        match rest.get(end + 1..)?.strip_prefix(',') {
            Some(next) => rest = next,
            None => return (rest.len() == end + 1).then_some(arguments),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        let price = MessageType::new("Acme.Orders:Price");
        let changed = MessageType::new("Acme.Orders:Changed").with_arguments([price.clone()]);
        assert_eq!(
            changed.urn(),
            "urn:message:Acme.Orders:Changed[[Acme.Orders:Price]]"
        );
        assert_eq!(changed.entity_name(), "Acme.Orders:Changed--Price--");
        let fault = MessageType::new("MassTransit:Fault")
            .with_arguments([MessageType::new("Acme:Api+Ping")]);
        assert_eq!(
            fault.urn(),
            "urn:message:MassTransit:Fault[[Acme:Api+Ping]]"
        );
        assert_eq!(fault.entity_name(), "MassTransit:Fault--Acme:Api-Ping--");
        let two = MessageType::new("Acme:Pair").with_arguments([price, MessageType::new("Acme:X")]);
        assert_eq!(two.entity_name(), "Acme:Pair--Acme.Orders:Price::X--");
        assert_eq!(MessageType::parse(&two.qualified()), Ok(two));
    }

    #[test]
    fn bad_names_are_refused() {
        for bad in [
            "",
            ":",
            "Acme:",
            ":Name",
            "Acme:Na me",
            "Acme:1st",
            "A:B[",
            "A:B[]",
            "A:B[[C]",
            "A:B[[C]x]",
            "A:B[C]",
            "A:B][",
        ] {
            assert!(MessageType::parse(bad).is_err(), "{bad}");
        }
        let long = format!("Acme:{}", "x".repeat(260));
        assert!(
            MessageType::parse(&long)
                .unwrap_err()
                .to_string()
                .contains("255 bytes")
        );
    }
}
