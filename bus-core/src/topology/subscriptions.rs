//! Chains of bindings, folded to what each queue gets.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::filter::{Condition, Filter, Path};
use super::{Binding, ExchangeKind, Node, Topology};

/// The messages of one exchange that a queue gets, over all bindings between them.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueSubscription {
    /// Exchange to which the messages are published.
    pub source: String,
    /// Queue that gets them, each once.
    pub queue: String,
    /// Choice of the messages.
    pub filter: Filter,
}

impl Topology {
    /// Returns the queues that get messages of each exchange, with a filter.
    ///
    /// For a transport without bindings from exchange to exchange: it declares these instead. There
    /// is one entry for each exchange and queue between which a message can pass, however many ways
    /// lead there; circles lead nowhere. A base contract is resolved where the publisher's topology
    /// was [merged](Self::merge) with the consumer's, as the binding between the exchanges is the
    /// publisher's. An exchange that is bound here and declared elsewhere is taken to be of the
    /// kind that its bindings suggest. Alternate exchanges are left out, as a queue behind one gets
    /// what others do not.
    ///
    /// ```
    /// use bus_core::Headers;
    /// use bus_core::topology::{Binding, Exchange, ExchangeKind, Node, Topology};
    ///
    /// let to_exchange = |name: &str| Node::Exchange(name.to_owned());
    /// let topology = Topology {
    ///     exchanges: vec![Exchange::new("prices", ExchangeKind::Topic), Exchange::fanout("board")],
    ///     bindings: vec![
    ///         Binding::new("prices", to_exchange("board")).routing_key("eu.*"),
    ///         Binding::new("board", Node::Queue("board".to_owned())),
    ///     ],
    ///     ..Topology::default()
    /// };
    /// let [prices, board] = topology.subscriptions().try_into().unwrap();
    /// assert_eq!((prices.source.as_str(), prices.queue.as_str()), ("prices", "board"));
    /// assert!(prices.filter.matches("eu.west", &Headers::new()));
    /// assert!(board.filter.takes_all());
    /// ```
    pub fn subscriptions(&self) -> Vec<QueueSubscription> {
        let declared = self.exchanges.iter().map(|exchange| exchange.name.as_str());
        let bound = self.bindings.iter().map(|binding| binding.source.as_str());
        let mut seen = HashSet::new();
        let sources = declared.chain(bound).filter(|name| seen.insert(*name));
        let graph = Graph::new(self);
        sources.flat_map(|source| graph.from(source)).collect()
    }
}

/// A binding with the condition on which a message takes it.
type Edge<'a> = (Option<Condition>, &'a Node);

/// The bindings of a topology by their source.
struct Graph<'a>(HashMap<&'a str, Vec<Edge<'a>>>);

impl<'a> Graph<'a> {
    fn new(topology: &'a Topology) -> Self {
        let exchanges = topology.exchanges.iter();
        let kinds: HashMap<_, _> = exchanges
            .map(|exchange| (exchange.name.as_str(), exchange.kind))
            .collect();
        let mut edges = HashMap::<_, Vec<_>>::new();
        for binding in &topology.bindings {
            let source = binding.source.as_str();
            let kind = kinds.get(source).copied();
            let condition = Condition::of(kind.unwrap_or_else(|| suggested(binding)), binding);
            let from = edges.entry(source).or_default();
            from.push((condition, &binding.destination));
        }
        Self(edges)
    }

    /// Follows all ways from an exchange.
    fn from(&self, source: &str) -> Vec<QueueSubscription> {
        let mut queues = BTreeMap::<&str, Filter>::new();
        let mut exchanges = HashMap::<&str, Filter>::new();
        let mut waiting = vec![(source, Path::default())];
        while let Some((exchange, path)) = waiting.pop() {
            // A circle only adds conditions, and so comes back with nothing new.
            if !exchanges.entry(exchange).or_default().add(path.clone()) {
                continue;
            }
            for (condition, destination) in self.0.get(exchange).into_iter().flatten() {
                match (path.and(condition.clone()), destination) {
                    (Some(path), Node::Exchange(name)) => waiting.push((name, path)),
                    (Some(path), Node::Queue(name)) => {
                        queues.entry(name).or_default().add(path);
                    }
                    (None, _) => {}
                }
            }
        }
        let subscription = |(queue, filter): (&str, Filter)| QueueSubscription {
            source: source.to_owned(),
            queue: queue.to_owned(),
            filter,
        };
        queues.into_iter().map(subscription).collect()
    }
}

/// Returns the kind of an exchange that is declared elsewhere.
fn suggested(binding: &Binding) -> ExchangeKind {
    if !binding.arguments.is_empty() {
        ExchangeKind::Headers
    } else if binding.routing_key.is_empty() {
        ExchangeKind::Fanout
    } else {
        ExchangeKind::Topic
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Exchange;

    fn chain(kind: ExchangeKind, bindings: &[(&str, &str, &str)]) -> Vec<QueueSubscription> {
        let names: HashSet<_> = bindings.iter().map(|(source, ..)| *source).collect();
        let destination = |name: &str| match name.strip_prefix("q-") {
            Some(_) => Node::Queue(name.to_owned()),
            None => Node::Exchange(name.to_owned()),
        };
        let topology = Topology {
            exchanges: names
                .iter()
                .map(|name| Exchange::new(*name, kind))
                .collect(),
            bindings: bindings
                .iter()
                .map(|(source, to, key)| Binding::new(*source, destination(to)).routing_key(*key))
                .collect(),
            ..Topology::default()
        };
        let mut found = topology.subscriptions();
        found.retain(|subscription| subscription.source == "a");
        found
    }

    fn alternatives(found: &[QueueSubscription]) -> &[Vec<Condition>] {
        let [only] = found else {
            panic!("one entry is expected: {found:?}");
        };
        only.filter.alternatives()
    }

    #[test]
    fn a_chain_demands_all_its_conditions() {
        let patterns = [("a", "b", "*.x"), ("b", "q-1", "eu.*")];
        let both = ["*.x", "eu.*"].map(|pattern| Condition::Pattern(pattern.to_owned()));
        let found = chain(ExchangeKind::Topic, &patterns);
        assert_eq!(alternatives(&found), [both.to_vec()]);
        let exact = [("a", "b", "*.x"), ("b", "q-1", "eu.x")];
        let found = chain(ExchangeKind::Topic, &exact);
        assert_eq!(alternatives(&found), [[Condition::Key("eu.x".to_owned())]]);
    }

    #[test]
    fn a_way_that_no_message_can_take_is_none() {
        for (first, second) in [("a", "b"), ("*.x", "eu"), ("eu", "*.x")] {
            let ways = [("a", "b", first), ("b", "q-1", second)];
            assert_eq!(chain(ExchangeKind::Topic, &ways), [], "{first}, {second}");
        }
    }

    #[test]
    fn ways_of_a_diamond_are_alternatives_of_one_entry() {
        let ways = [
            ("a", "b", "1"),
            ("a", "c", "2"),
            ("b", "q-1", "1"),
            ("c", "q-1", "2"),
        ];
        let found = chain(ExchangeKind::Direct, &ways);
        assert_eq!(alternatives(&found).len(), 2);
        let found = chain(ExchangeKind::Fanout, &ways);
        assert!(alternatives(&found).len() == 1 && found[0].filter.takes_all());
    }

    #[test]
    fn circles_end() {
        let ways = [
            ("a", "b", "*.x"),
            ("b", "c", "eu.*"),
            ("c", "a", "#"),
            ("c", "q-1", "#"),
        ];
        let found = chain(ExchangeKind::Topic, &ways);
        assert_eq!(alternatives(&found)[0].len(), 2);
        assert_eq!(chain(ExchangeKind::Fanout, &[("a", "a", "")]), []);
    }
}
