//! Patterns of topic exchanges.
//!
//! They are words joined by `.`, where `*` is one word and `#` any number of them.

/// Returns `true` if `key` matches `pattern`.
pub(super) fn matches(pattern: &str, key: &str) -> bool {
    let pattern: Vec<&str> = words(pattern).collect();
    let key: Vec<&str> = words(key).collect();
    // `star` remembers the last `#` and where its match began, so that only that one is ever
    // widened again: linear memory, and no exponential patterns.
    let (mut p, mut k, mut star) = (0, 0, None);
    while k < key.len() {
        match pattern.get(p) {
            Some(&"#") => {
                star = Some((p, k));
                p += 1;
            }
            Some(&word) if word == "*" || word == key[k] => {
                p += 1;
                k += 1;
            }
            _ => {
                let Some((hash, from)) = star else {
                    return false;
                };
                star = Some((hash, from + 1));
                p = hash + 1;
                k = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|word| *word == "#")
}

/// Splits a pattern or key into words.
///
/// The empty key has no words, as on RabbitMQ: `#` matches it and `*` does not.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split('.').filter(move |_| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_on_rabbitmq() {
        for (pattern, key) in [
            ("a.b", "a.b"),
            ("*.b", "a.b"),
            ("a.*", "a.b"),
            ("#", ""),
            ("#", "a.b.c"),
            ("a.#", "a"),
            ("a.#", "a.b.c"),
            ("#.c", "a.b.c"),
            ("#.c", "c"),
            ("a.#.c", "a.c"),
            ("a.#.c", "a.b.b.c"),
            ("#.#", ""),
            ("*.#", "a"),
            ("#.b.#", "a.b.c"),
            ("#.b.*.d", "a.b.b.c.d"),
            ("a..b", "a..b"),
            ("a.*.b", "a..b"),
            ("", ""),
        ] {
            assert!(matches(pattern, key), "{pattern} should match {key}");
        }
    }

    #[test]
    fn other_keys_do_not_match() {
        for (pattern, key) in [
            ("a.b", "a"),
            ("a", "a.b"),
            ("*", ""),
            ("*", "a.b"),
            ("*.#", ""),
            ("a.*", "a"),
            ("#.c", "a.b"),
            ("a.#.c", "a.b"),
            ("", "a"),
            ("A.b", "a.b"),
            ("a*", "ab"),
        ] {
            assert!(!matches(pattern, key), "{pattern} should not match {key}");
        }
    }

    #[test]
    fn many_wildcards_cost_no_exponential_time() {
        let pattern = "#.a.".repeat(60) + "b";
        assert!(!matches(&pattern, &"a.".repeat(250)));
    }
}
