//! Exchanges, with their bindings and the rules by which a message matches.

use std::collections::BTreeMap;

use bus_core::Headers;
use bus_core::message::HeaderValue;
use bus_core::topology::{self, ExchangeKind, Node};

use crate::broker::topic;

/// Router of messages.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) settings: topology::Exchange,
    pub(crate) bindings: Vec<Binding>,
}

/// Binding, seen from its source.
#[derive(Debug, PartialEq)]
pub(crate) struct Binding {
    pub(crate) destination: Node,
    pub(crate) routing_key: String,
    pub(crate) arguments: BTreeMap<String, HeaderValue>,
}

impl Exchange {
    pub(crate) fn new(settings: topology::Exchange) -> Self {
        Self {
            settings,
            bindings: Vec::new(),
        }
    }

    /// Destinations of a message from this exchange.
    pub(crate) fn destinations<'a>(
        &'a self,
        key: &'a str,
        headers: &'a Headers,
    ) -> impl Iterator<Item = &'a Node> {
        let kind = self.settings.kind;
        self.bindings
            .iter()
            .filter(move |binding| match kind {
                ExchangeKind::Fanout => true,
                ExchangeKind::Direct => binding.routing_key == key,
                ExchangeKind::Topic => topic::matches(&binding.routing_key, key),
                ExchangeKind::Headers => headers_match(&binding.arguments, headers),
            })
            .map(|binding| &binding.destination)
    }
}

/// Returns `true` if headers fulfil the arguments of a binding.
///
/// `x-match` is `all` (the default) or `any`, which both skip arguments that begin with `x-`, or
/// one of them `-with-x`. An argument without a value asks for presence only. Names keep their case
/// here, as on RabbitMQ.
fn headers_match(arguments: &BTreeMap<String, HeaderValue>, headers: &Headers) -> bool {
    let rule = arguments.get("x-match").and_then(HeaderValue::as_str);
    let with_x = rule.is_some_and(|rule| rule.ends_with("-with-x"));
    let counts = |name: &str| name != "x-match" && (with_x || !name.starts_with("x-"));
    let wanted = arguments.iter().filter(|(name, _)| counts(name));
    let mut fulfilled = wanted.map(|(name, wanted)| {
        headers.iter().any(|(given, value)| {
            given == name && (*wanted == HeaderValue::Null || value == wanted)
        })
    });
    if rule.is_some_and(|rule| rule.starts_with("any")) {
        fulfilled.any(|is| is)
    } else {
        fulfilled.all(|is| is)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments<const N: usize>(pairs: [(&str, HeaderValue); N]) -> BTreeMap<String, HeaderValue> {
        pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    fn headers() -> Headers {
        [("region", "north"), ("x-tier", "gold")]
            .into_iter()
            .collect()
    }

    #[test]
    fn all_wants_every_value() {
        let region = ("region", HeaderValue::from("north"));
        assert!(headers_match(&arguments([region.clone()]), &headers()));
        let both = arguments([region, ("kind", "a".into())]);
        assert!(!headers_match(&both, &headers()));
        assert!(headers_match(&arguments([]), &headers()));
    }

    #[test]
    fn any_wants_one_value() {
        let rule = ("x-match", HeaderValue::from("any"));
        let one = [
            rule.clone(),
            ("region", "north".into()),
            ("kind", "a".into()),
        ];
        assert!(headers_match(&arguments(one), &headers()));
        assert!(!headers_match(
            &arguments([rule.clone(), ("region", "south".into())]),
            &headers()
        ));
        assert!(!headers_match(&arguments([rule]), &headers()));
    }

    #[test]
    fn names_that_begin_with_x_count_only_on_request() {
        let tier = ("x-tier", HeaderValue::from("silver"));
        assert!(headers_match(&arguments([tier.clone()]), &headers()));
        let rule = ("x-match", HeaderValue::from("all-with-x"));
        assert!(!headers_match(&arguments([rule, tier]), &headers()));
    }

    #[test]
    fn no_value_asks_for_presence() {
        let present = arguments([("region", HeaderValue::Null)]);
        assert!(headers_match(&present, &headers()));
        let absent = arguments([("kind", HeaderValue::Null)]);
        assert!(!headers_match(&absent, &headers()));
    }
}
