//! Number of times that a message came again later, as its headers say.

use std::iter;

use crate::message::{Envelope, HeaderValue, Headers};
use crate::transport::Incoming;

/// Header of MassTransit with the number of redeliveries, deferrals included.
const COUNT: &str = "MT-Redelivery-Count";

/// Header with the redeliveries by each policy, and the deferrals.
///
/// Written `1,0;2`: one by the first policy, none by the second, and two deferrals. It is passed on
/// to no other message, like every header that begins with `MT-`.
const COUNTS: &str = "MT-Bus-Redelivery-Counts";

/// Number of times that a message came again later, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Redeliveries {
    by_policy: Vec<u32>,
    deferrals: u32,
}

/// Returns the number of redeliveries of a message.
///
/// The headers of the transport count too, as a body without an envelope has no others.
pub(crate) fn total(envelope: &Envelope, incoming: &Incoming) -> u32 {
    let read = |headers: &Headers| match headers.get(COUNT)? {
        // MassTransit's transport headers are texts.
        HeaderValue::Text(text) => text.trim().parse().ok(),
        value => value.as_i64().and_then(|count| u32::try_from(count).ok()),
    };
    let (inner, outer) = (read(&envelope.headers), read(&incoming.headers));
    inner.max(outer).unwrap_or_default()
}

impl Redeliveries {
    /// Reads the counts of a message, for an endpoint with so many policies.
    ///
    /// Redeliveries by a peer, which knows none of the policies, count for the first one.
    pub(crate) fn read(envelope: &Envelope, incoming: &Incoming, policies: usize) -> Self {
        let text = envelope.headers.text(COUNTS);
        let mut counts = text
            .or_else(|| incoming.headers.text(COUNTS))
            .and_then(Self::parse)
            .unwrap_or_default();
        if counts.by_policy.len() < policies {
            counts.by_policy.resize(policies, 0);
        }
        let foreign = total(envelope, incoming).saturating_sub(counts.total());
        if let Some(first) = counts.by_policy.first_mut() {
            *first = first.saturating_add(foreign);
        } else {
            counts.deferrals = counts.deferrals.saturating_add(foreign);
        }
        counts
    }

    fn parse(text: &str) -> Option<Self> {
        let (policies, deferrals) = text.split_once(';')?;
        let by_policy = policies.split(',').filter(|count| !count.is_empty());
        Some(Self {
            by_policy: by_policy
                .map(|count| count.parse().ok())
                .collect::<Option<_>>()?,
            deferrals: deferrals.parse().ok()?,
        })
    }

    fn total(&self) -> u32 {
        let all = self.by_policy.iter().chain(iter::once(&self.deferrals));
        all.fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Returns the number of redeliveries by one policy.
    pub(crate) fn by_policy(&self, policy: usize) -> u32 {
        self.by_policy.get(policy).copied().unwrap_or_default()
    }

    /// Counts one more redelivery by a policy.
    pub(crate) fn count(mut self, policy: usize) -> Self {
        if let Some(count) = self.by_policy.get_mut(policy) {
            *count = count.saturating_add(1);
        }
        self
    }

    /// Counts one more deferral.
    pub(crate) fn count_deferral(mut self) -> Self {
        self.deferrals = self.deferrals.saturating_add(1);
        self
    }

    /// Writes the counts into the headers of the copy.
    pub(crate) fn write(&self, headers: &mut Headers) {
        let counts: Vec<_> = self.by_policy.iter().map(ToString::to_string).collect();
        headers.insert(COUNT, self.total());
        headers.insert(COUNTS, format!("{};{}", counts.join(","), self.deferrals));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: Headers, policies: usize) -> Redeliveries {
        let envelope = Envelope {
            headers,
            ..Envelope::default()
        };
        Redeliveries::read(&envelope, &Incoming::default(), policies)
    }

    #[test]
    fn counts_survive_the_headers() {
        let counts = read(Headers::new(), 2)
            .count(0)
            .count(1)
            .count(1)
            .count_deferral();
        let mut headers = Headers::new();
        counts.write(&mut headers);
        assert_eq!(headers.get(COUNT).and_then(HeaderValue::as_i64), Some(4));
        let again = read(headers, 2);
        assert_eq!(again, counts);
        assert_eq!(
            (again.by_policy(0), again.by_policy(1), again.by_policy(2)),
            (1, 2, 0)
        );
    }

    #[test]
    fn redeliveries_of_a_peer_count_for_the_first_policy() {
        let headers: Headers = [(COUNT, 3)].into_iter().collect();
        assert_eq!(read(headers.clone(), 2).by_policy(0), 3);
        assert_eq!(read(headers, 0).deferrals, 3, "and are kept without one");
        let mut headers = Headers::new();
        read(Headers::new(), 1).count(0).write(&mut headers);
        headers.insert(COUNT, "5");
        assert_eq!(read(headers, 1).by_policy(0), 5);
    }

    #[test]
    fn what_is_no_count_counts_nothing() {
        for text in ["", "x", "1,2", ";", "1,x;0", "-1;0", "99999999999;0"] {
            let headers: Headers = [(COUNTS, text)].into_iter().collect();
            assert_eq!(
                read(headers, 1),
                Redeliveries {
                    by_policy: vec![0],
                    deferrals: 0
                },
                "{text}"
            );
        }
        let headers: Headers = [(COUNT, -5)].into_iter().collect();
        assert_eq!(read(headers, 1).by_policy(0), 0);
    }
}
