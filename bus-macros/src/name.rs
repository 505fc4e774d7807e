//! Grammar of wire names, as `bus_core::message::MessageType::parse` reads them.

use syn::LitStr;

/// The longest exchange name that AMQP can carry, in bytes.
const MAX_NAME: usize = 255;

/// Checks that a literal is a name, else gives an error at the literal.
pub(crate) fn check(literal: &LitStr) -> syn::Result<()> {
    let text = literal.value();
    let problem = match problem(&text) {
        None if entity_length(&text, None) > MAX_NAME => {
            "its exchange name would be longer than 255 bytes"
        }
        None if !has_namespace(&text) => "it has no namespace, and MassTransit refuses such a type",
        None => return Ok(()),
        Some(problem) => problem,
    };
    let message =
        format!("`{text}` is not a message type name: {problem}; write it as Namespace:Name");
    Err(syn::Error::new(literal.span(), message))
}

fn has_namespace(text: &str) -> bool {
    text.split('[')
        .next()
        .is_some_and(|plain| plain.contains(':'))
}

/// The fault of a name; `None` if it is valid.
fn problem(text: &str) -> Option<&'static str> {
    let (plain, inner) = match text.split_once('[') {
        None => (text, None),
        Some((plain, rest)) => match rest.strip_suffix(']') {
            None => return Some("the bracket after the name is not closed"),
            Some(inner) => (plain, Some(inner)),
        },
    };
    let (namespace, name) = match plain.rsplit_once(':') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, plain),
    };
    if namespace.is_some_and(|namespace| !namespace.split('.').all(is_identifier)) {
        return Some("the namespace must be identifiers joined by '.'");
    }
    if !name.split('+').all(is_identifier) {
        return Some("the name must be identifiers, nested ones joined by '+'");
    }
    match inner.map(arguments) {
        None => None,
        Some(None) => Some("type arguments are written as [[A],[B]]"),
        Some(Some(arguments)) => arguments.into_iter().find_map(problem),
    }
}

fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_')
}

/// Splits `[A],[B[[C]]]` into `A` and `B[[C]]`.
fn arguments(text: &str) -> Option<Vec<&str>> {
    let (mut found, mut depth, mut start) = (Vec::new(), 0usize, 0);
    let mut wanted = '[';
    for (index, symbol) in text.char_indices() {
        if depth == 0 {
            if symbol != wanted {
                return None;
            }
            wanted = if symbol == '[' { ',' } else { '[' };
            start = index + 1;
            depth = usize::from(symbol == '[');
            continue;
        }
        match symbol {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            found.push(&text[start..index]);
        }
    }
    (depth == 0 && wanted == ',').then_some(found)
}

/// The length of the exchange name.
/// Arguments omit the namespace of their enclosing type.
fn entity_length(text: &str, enclosing: Option<&str>) -> usize {
    let (plain, inner) = match text.split_once('[') {
        None => (text, None),
        Some((plain, rest)) => (plain, rest.strip_suffix(']').and_then(arguments)),
    };
    let (namespace, name) = match plain.rsplit_once(':') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, plain),
    };
    let prefix = namespace
        .filter(|namespace| Some(*namespace) != enclosing)
        .map_or(0, |namespace| namespace.len() + 1);
    let arguments = inner.map_or(0, |arguments| {
        let names: usize = arguments
            .iter()
            .map(|argument| entity_length(argument, namespace) + 2)
            .sum();
        names + 2
    });
    prefix + name.len() + arguments
}

#[cfg(test)]
mod tests {
    use bus_core::message::MessageType;

    use super::*;

    #[test]
    fn the_derive_and_the_runtime_agree_on_names() {
        let parts = [
            "",
            "A",
            "ß",
            "1",
            ":",
            ".",
            "+",
            "[",
            "]",
            "[[",
            "]]",
            "],[",
            ",",
            " ",
            "A.B:C",
            "Xyz:Q[[A:B]]",
        ];
        let mut checked = 0;
        for a in parts {
            for b in parts {
                for c in parts {
                    for d in parts {
                        let text = [a, b, c, d].concat();
                        let ours = problem(&text).is_none();
                        assert_eq!(ours, MessageType::parse(&text).is_ok(), "{text}");
                        checked += usize::from(ours);
                    }
                }
            }
        }
        assert!(checked > 100, "{checked} good names");
    }

    #[test]
    fn the_derive_and_the_runtime_agree_on_length() {
        for text in ["A:B", "B", "A.B:C+D", "A:B[[A:C],[D:E[[D:F]]]]"] {
            let entity = MessageType::parse(text).unwrap().entity_name();
            assert_eq!(entity_length(text, None), entity.len(), "{entity}");
        }
    }
}
