//! Targets that are declared first, or again.

use super::*;

#[tokio::test(start_paused = true)]
async fn one_slow_declaration_is_enough_to_wait_for_none() {
    let mut channel = Channel::new(10);
    let _first = channel.take(&exchange("slow", None), 1);
    channel.write();
    channel.declaration();
    tokio::time::advance(GRACE).await;
    let _second = channel.take(&exchange("another", None), 2);
    let _third = channel.take(&inbox("known"), 3);
    assert_eq!(channel.write(), [3]);
}

#[test]
fn a_declaration_that_fails_for_now_is_made_again() {
    let mut channel = Channel::new(10);
    let mut outcome = channel.take(&exchange("new", None), 1);
    channel.write();
    let route = channel.declaration();
    channel.schedule.declared(route, Err(unavailable()));
    assert!(outcome.try_recv().is_err(), "it waits");
    channel.rest();
    assert_eq!(channel.declaration(), route);
    channel.schedule.declared(route, Ok(()));
    assert_eq!(channel.write(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_declaration_that_fails_for_good_ends_what_asked_for_it() {
    let mut channel = Channel::new(10);
    let (looked_for, ours) = (
        exchange("x", None),
        exchange("x", Some(Topology::default())),
    );
    let mut strangers = [channel.take(&looked_for, 1), channel.take(&looked_for, 2)];
    let _own = channel.take(&ours, 3);
    channel.write();
    tokio::time::advance(GRACE).await;
    channel.write();
    let route = channel.declaration();
    let missing = TransportError::new(TransportErrorKind::Unroutable, "not there");
    channel.schedule.declared(route, Err(missing));
    for outcome in &mut strangers {
        assert_eq!(kind(outcome), Some(TransportErrorKind::Unroutable));
    }
    assert_eq!(channel.declaration(), route, "the other one is declared");
    channel.schedule.declared(route, Ok(()));
    assert_eq!(channel.write(), [3]);
}

/// A topology that declares a queue.
fn kept() -> Topology {
    Topology {
        queues: vec![Queue::classic("q_error")],
        ..Topology::default()
    }
}

#[test]
fn a_message_that_comes_back_goes_once_more_after_another_declaration() {
    for target in [exchange("q_error", Some(kept())), Target::Queue("q".into())] {
        let mut channel = Channel::new(100);
        let mut outcomes = [1, 2].map(|body| channel.take_mandatory(&target, body));
        channel.write();
        channel.declare();
        assert_eq!(channel.write(), [1, 2]);
        channel.give_back_all();
        let mut later = channel.take_mandatory(&target, 3);
        assert_eq!(channel.write(), NOTHING, "it is declared first");
        channel.declare();
        assert_eq!(channel.write(), [1, 2, 3], "in order");
        channel.confirm_all();
        for outcome in outcomes.iter_mut().chain([&mut later]) {
            assert_eq!(kind(outcome), None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_declaration_that_did_not_help_is_not_made_for_each_message_that_comes_back() {
    let mut channel = Channel::new(100);
    let target = exchange("event", Some(kept()));
    let mut first = channel.take_mandatory(&target, 1);
    channel.write();
    channel.declare();
    channel.write();
    channel.give_back_all();
    channel.declare();
    channel.write();
    channel.give_back_all();
    assert_eq!(kind(&mut first), Some(TransportErrorKind::Unroutable));
    let mut second = channel.take_mandatory(&target, 2);
    channel.write();
    channel.give_back_all();
    assert_eq!(kind(&mut second), Some(TransportErrorKind::Unroutable));
    tokio::time::advance(Duration::from_secs(1)).await;
    let _third = channel.take_mandatory(&target, 3);
    channel.write();
    channel.give_back_all();
    channel.declare();
    assert_eq!(channel.write(), [3]);
}

#[test]
fn a_message_that_no_declaration_can_route_is_unroutable_at_once() {
    for target in [
        exchange("event", Some(Topology::default())),
        exchange("foreign", None),
        inbox("q"),
    ] {
        let mut channel = Channel::new(100);
        let mut outcome = channel.take_mandatory(&target, 1);
        if channel.write().is_empty() {
            channel.declare();
            channel.write();
        }
        channel.give_back_all();
        assert_eq!(kind(&mut outcome), Some(TransportErrorKind::Unroutable));
        assert!(channel.schedule.is_idle());
    }
}

#[test]
fn an_exchange_that_is_gone_is_declared_again_once_for_a_message() {
    let mut channel = Channel::new(100);
    let (ours, other) = (exchange("x", Some(kept())), inbox("other"));
    let mut outcomes = [1, 2].map(|body| channel.take(&ours, body));
    let mut innocent = channel.take(&other, 3);
    channel.write();
    channel.declare();
    assert_eq!(channel.write(), [1, 2, 3]);
    let words = "NOT_FOUND - no exchange 'x' in vhost '/'";
    assert!(channel.close(words));
    channel.write();
    channel.declare();
    for batch in [vec![1, 2], vec![3]] {
        assert_eq!(channel.write(), batch);
        channel.confirm_all();
    }
    for outcome in outcomes.iter_mut().chain([&mut innocent]) {
        assert_eq!(kind(outcome), None);
    }
    let mut unlucky = channel.take(&ours, 4);
    for _ in 0..2 {
        channel.write();
        assert!(channel.close(words));
        channel.write();
        if let Some(BackgroundTask::Declare(route, _)) = channel.background_task() {
            channel.schedule.declared(route, Ok(()));
        }
    }
    assert_eq!(kind(&mut unlucky), Some(TransportErrorKind::Unroutable));
}

#[test]
fn a_foreign_exchange_that_is_gone_is_looked_for_again() {
    let mut channel = Channel::new(100);
    let foreign = exchange("x", None);
    let mut lost = channel.take(&foreign, 1);
    channel.write();
    channel.declare();
    channel.write();
    assert!(channel.close("NOT_FOUND - no exchange 'x' in vhost '/'"));
    assert_eq!(kind(&mut lost), Some(TransportErrorKind::Unroutable));
    let _next = channel.take(&foreign, 2);
    assert_eq!(channel.write(), NOTHING);
    channel.declaration();
}
