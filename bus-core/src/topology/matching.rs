//! The rules by which an exchange chooses among its bindings.

use std::collections::BTreeMap;

use super::{ExchangeKind, topic};
use crate::message::{HeaderValue, Headers};

impl ExchangeKind {
    /// Returns `true` if a message takes a binding from an exchange of this kind.
    ///
    /// `bound` is the binding's routing key or pattern, `arguments` its header match.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use bus_core::Headers;
    /// use bus_core::topology::ExchangeKind;
    ///
    /// let takes = |kind: ExchangeKind| kind.matches("eu.*", &BTreeMap::new(), "eu.west", &Headers::new());
    /// assert!(takes(ExchangeKind::Topic) && takes(ExchangeKind::Fanout));
    /// assert!(!takes(ExchangeKind::Direct));
    /// ```
    pub fn matches(
        self,
        bound: &str,
        arguments: &BTreeMap<String, HeaderValue>,
        routing_key: &str,
        headers: &Headers,
    ) -> bool {
        match self {
            Self::Fanout => true,
            Self::Direct => bound == routing_key,
            Self::Topic => topic::matches(bound, routing_key),
            Self::Headers => headers_match(arguments, headers),
        }
    }
}

/// Returns `true` if headers fulfil the arguments of a binding.
///
/// `x-match` is `all` (the default) or `any`, which both skip arguments that begin with `x-`, or
/// one of them `-with-x`. An argument without a value asks for presence only. Names keep their case
/// here, as on RabbitMQ.
pub(super) fn headers_match(arguments: &BTreeMap<String, HeaderValue>, headers: &Headers) -> bool {
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
