//! Mistakes of a configuration that are found before anything is connected.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::background::BackgroundService;
use crate::consume::Registration;
use crate::endpoint::{Endpoint, Guarantee, Policy};
use crate::flow::{KillSwitch, RateLimit};
use crate::middleware::Idempotency;
use crate::topology::{Overflow, QueueKind};

/// Returns all mistakes in the endpoints of a bus.
pub(crate) fn mistakes(endpoints: &[Endpoint], bus: &Policy) -> Vec<String> {
    let mut mistakes = Vec::new();
    let mut names = HashSet::new();
    for endpoint in endpoints {
        if !names.insert(endpoint.name.as_str()) {
            mistakes.push(format!(
                "endpoint `{}` is there twice; put its consumers on one endpoint",
                endpoint.name
            ));
        }
        let mut say =
            |mistake: &str| mistakes.push(format!("endpoint `{}`: {mistake}", endpoint.name));
        check_consumers(endpoint, &mut say);
        check_limits(endpoint, bus, &mut say);
        check_batches(endpoint, bus, &mut say);
        check_failures(endpoint, bus, &mut say);
        check_flow(endpoint, bus, &mut say);
        check_queue(endpoint, bus, &mut say);
        endpoint.mistakes.iter().for_each(|mistake| say(mistake));
    }
    mistakes
}

/// Returns all mistakes in the background services of a bus.
pub(crate) fn background_mistakes(services: &[Arc<dyn BackgroundService>]) -> Vec<String> {
    let mut mistakes = Vec::new();
    let mut names = HashSet::new();
    for service in services {
        let name = service.name();
        if !names.insert(name) {
            mistakes.push(format!(
                "background service `{name}` is there twice; give one of them another name"
            ));
        }
    }
    mistakes
}

pub(crate) fn time_mistakes(deadline: Duration, start_timeout: Option<Duration>) -> Vec<String> {
    let zero = [
        ("deadline", Some(deadline)),
        ("start_timeout", start_timeout),
    ];
    zero.into_iter()
        .filter(|(_, duration)| duration.is_some_and(|duration| duration.is_zero()))
        .map(|(setting, _)| format!("{setting} is zero, so nothing could ever be in time"))
        .collect()
}

fn check_consumers(endpoint: &Endpoint, say: &mut impl FnMut(&str)) {
    if endpoint.registrations.is_empty() {
        say("it has no consumer; add one with .consumer(…), or .consume_any(…)");
    }
    let mut by_urn: HashMap<&str, &str> = HashMap::new();
    for registration in &endpoint.registrations {
        let Some(contract) = registration.contract else {
            continue;
        };
        for urn in &contract.accepted_urns {
            if let Some(other) = by_urn.insert(urn, registration.consumer_type) {
                let by = registration.consumer_type;
                let advice = if by == other {
                    "two contracts have this wire name, so give one of them another one, or an endpoint of its own"
                } else {
                    "give one of them an endpoint of its own; if they consume different contracts, these have one wire \
                     name, which is the mistake"
                };
                say(&format!(
                    "`{other}` and `{by}` both consume {urn}: {advice}"
                ));
            }
        }
    }
    if endpoint
        .registrations
        .iter()
        .filter(|registration| registration.contract.is_none())
        .count()
        > 1
    {
        say("it has two consumers of everything; one delivery goes to one consumer");
    }
    for subscription in &endpoint.subscriptions {
        if !endpoint
            .contracts()
            .any(|(type_id, _)| type_id == subscription.type_id)
        {
            say(&format!(
                "it subscribes with key `{}` to a type that it has no consumer of",
                subscription.key
            ));
        }
    }
}

fn check_limits(endpoint: &Endpoint, bus: &Policy, say: &mut impl FnMut(&str)) {
    let policy = &endpoint.policy;
    if policy.concurrency.or(bus.concurrency) == Some(0) {
        say("concurrency is 0, so it would never consume; use at least 1");
    }
    if policy.max_deliveries.or(bus.max_deliveries) == Some(0) {
        say("max_deliveries is 0, so no message could ever be handled; use at least 1");
    }
    if policy.prefetch.or(bus.prefetch) == Some(0) {
        say("prefetch is 0, which the broker reads as unlimited; use at least 1");
    }
    let both = policy.clone().over(bus);
    let prefetch = both.prefetch;
    let concurrency = both.limits(endpoint.batched()).concurrency;
    if let Some(prefetch) =
        prefetch.filter(|prefetch| (1..concurrency).contains(&(*prefetch).into()))
    {
        say(&format!(
            "prefetch is {prefetch}, below its concurrency of {concurrency}: the broker hands out no more than that at \
             once; raise it, or lower the concurrency"
        ));
    }
}

fn check_batches(endpoint: &Endpoint, bus: &Policy, say: &mut impl FnMut(&str)) {
    let consumers = endpoint.registrations.iter();
    for limits in consumers.filter_map(Registration::batches) {
        limits.mistakes().for_each(&mut *say);
    }
    let batched = endpoint.batched();
    let concurrency = endpoint.policy.concurrency.or(bus.concurrency);
    if let Some(concurrency) = concurrency.filter(|limit| (1..batched).contains(limit)) {
        say(&format!(
            "concurrency is {concurrency}, below the {batched} messages of its batches, so that these would never be \
             full; raise it, leave it out, or make the batches smaller"
        ));
    }
    if batched > u16::MAX.into() {
        say(&format!(
            "its batches need {batched} messages at once, more than a broker hands out: {}; make them smaller",
            u16::MAX
        ));
    }
}

fn check_failures(endpoint: &Endpoint, bus: &Policy, say: &mut impl FnMut(&str)) {
    let policy = &endpoint.policy;
    let both = policy.clone().over(bus);
    let mistakes = both.retry.iter().filter_map(|retry| retry.mistake("retry"));
    let later = both.redeliveries.iter();
    let mistakes = mistakes.chain(later.filter_map(|later| later.mistake("redelivery")));
    mistakes.for_each(|mistake| say(&mistake));
    if policy
        .timeout
        .or(bus.timeout)
        .is_some_and(|timeout| timeout.is_zero())
    {
        say("timeout is zero, so every attempt would fail");
    }
    let idempotency = both.deduplicates().into_iter();
    for mistake in idempotency.flat_map(Idempotency::mistakes) {
        say(mistake);
    }
    if endpoint.guarantee == Guarantee::AtMostOnce
        && (policy.retry.is_some()
            || policy.deduplicates().is_some()
            || !policy.redeliveries.is_empty())
    {
        say(
            "at_most_once excludes retry, redelivery and idempotency: the message is acknowledged before its consumer runs",
        );
    }
    if endpoint.guarantee == Guarantee::AtMostOnce && !policy.partition_keys.is_empty() {
        say(
            "at_most_once excludes partitions: a message that waits for its key would be lost with the process",
        );
    }
}

fn check_flow(endpoint: &Endpoint, bus: &Policy, say: &mut impl FnMut(&str)) {
    let both = endpoint.policy.clone().over(bus);
    if let Some(mistake) = both.rate_limit.and_then(RateLimit::mistake) {
        say(mistake);
    }
    let switch = both.kill_switch.iter().flat_map(KillSwitch::mistakes);
    switch.for_each(|mistake| say(&mistake));
}

fn check_queue(endpoint: &Endpoint, bus: &Policy, say: &mut impl FnMut(&str)) {
    let queue = &endpoint.queue;
    if queue.kind == QueueKind::Quorum && queue.max_priority.is_some() {
        say("quorum queues have no max_priority; use a classic queue, or leave it out");
    }
    if queue.max_priority == Some(0) {
        say("max_priority is 0; leave it out for a queue without priorities");
    }
    if queue.kind != QueueKind::Classic && queue.is_temporary() {
        say("only classic queues can be temporary");
    }
    if queue.kind == QueueKind::Stream && endpoint.exclusive_consumer {
        say("a stream cannot have an exclusive consumer");
    }
    if queue.kind != QueueKind::Stream && endpoint.stream_offset.is_some() {
        say(
            "it has a stream_offset, but its queue is no stream; use Endpoint::on(Queue::stream(…))",
        );
    }
    if endpoint.taps.contains(&endpoint.name) {
        say("it taps itself");
    }
    let later = endpoint.policy.clone().over(bus).redeliveries;
    let redelivers = later.iter().any(|later| later.limit() > 0);
    if redelivers && queue.kind == QueueKind::Stream {
        say(
            "a stream keeps its messages, so that a redelivery would come to all its readers; leave redelivery out",
        );
    }
    if redelivers && queue.overflow == Some(Overflow::RejectPublish) {
        say(
            "it refuses messages when it is full, and those that are redelivered would hold up all delayed ones; use \
             Overflow::DropHead, or leave redelivery out",
        );
    }
    if queue.message_ttl.is_some_and(|ttl| ttl.is_zero()) {
        say("message_ttl is zero, so every message would expire at once");
    }
}
