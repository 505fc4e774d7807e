//! Messages that the broker refuses, and their neighbours.

use super::*;

#[test]
fn what_the_broker_read_before_it_refused_is_confirmed_before_anything_else_is_written() {
    let mut channel = Channel::new(100);
    let (open, closed) = (inbox("open"), exchange("closed", Some(Topology::default())));
    let mut refused = channel.take(&closed, 1);
    channel.write();
    let route = channel.declaration();
    channel.schedule.declared(route, Ok(()));
    let _innocent: Vec<_> = (2..6).map(|body| channel.take(&open, body)).collect();
    let mut too = channel.take(&closed, 6);
    let _later = channel.take(&open, 7);
    assert_eq!(channel.write(), [1, 2, 3, 4, 5, 6, 7]);
    channel.confirm(0);
    assert_eq!(kind(&mut refused), None);
    let words = "ACCESS_REFUSED - access to exchange 'closed' in vhost '/' refused for user 'app'";
    assert!(channel.close(words));
    assert_eq!(kind(&mut too), Some(TransportErrorKind::AccessRefused));
    assert_eq!(channel.write(), [2, 3, 4, 5]);
    channel.confirm(7);
    assert_eq!(channel.write(), NOTHING, "three are not confirmed");
    channel.confirm_all();
    assert_eq!(channel.write(), [7]);
}

#[test]
fn after_a_refusal_that_names_no_message_each_goes_alone_until_it_is_confirmed() {
    let mut channel = Channel::new(10);
    let target = inbox("q");
    let mut outcomes = [0, 1, 2, 3].map(|body| channel.take(&target, body));
    assert_eq!(channel.write(), [0, 1, 2, 3]);
    let words = "PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header}";
    assert!(!channel.close(words));
    let mut later = channel.take(&target, 9);
    assert_eq!(channel.write(), [0]);
    assert_eq!(channel.write(), NOTHING, "it is not confirmed yet");
    channel.confirm_all();
    assert_eq!(channel.write(), [1]);
    assert!(channel.close(words), "it was alone");
    assert_eq!(kind(&mut outcomes[1]), Some(TransportErrorKind::Protocol));
    for body in [2, 3] {
        assert_eq!(channel.write(), [body]);
        channel.confirm_all();
    }
    assert_eq!(channel.write(), [9]);
    channel.confirm_all();
    for index in [0, 2, 3] {
        assert_eq!(kind(&mut outcomes[index]), None);
    }
    assert_eq!(kind(&mut later), None);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_that_was_read_but_is_never_confirmed_does_not_stop_the_others() {
    let mut channel = Channel::new(10);
    let (stuck, well) = (inbox("stuck"), inbox("well"));
    let mut innocent = channel.take(&stuck, 1);
    let mut culprit = channel.take(&well, 2);
    channel.write();
    let words = "PRECONDITION_FAILED - invalid message: something";
    channel.close(words);
    assert_eq!(channel.write(), [1]);
    tokio::time::advance(PATIENCE).await;
    assert_eq!(channel.write(), NOTHING, "the broker may not have read it");
    let order = *channel.written.keys().next().unwrap();
    channel.schedule.clear(order);
    assert_eq!(channel.write(), [2]);
    assert!(channel.close(words), "the other one has been read before");
    assert_eq!(kind(&mut culprit), Some(TransportErrorKind::Protocol));
    assert_eq!(channel.write(), [1]);
    channel.confirm_all();
    assert_eq!(kind(&mut innocent), None);
}

/// Messages that the broker had before a loss may be in a queue.
///
/// Its answer to the second write does not change that.
#[test]
fn what_was_on_its_way_before_may_have_arrived_also_if_it_is_refused_or_returned() {
    let mut channel = Channel::new(100);
    let (inbox, foreign) = (inbox("q"), exchange("x", None));
    let mut outcomes = [channel.take_mandatory(&inbox, 1), channel.take(&foreign, 2)];
    channel.write();
    channel.declare();
    channel.write();
    channel.written.clear();
    assert!(!channel.schedule.recover(None));
    channel.write();
    let order = *channel.written.keys().next().unwrap();
    let foreign = channel.written.split_off(&(order + 1));
    channel.give_back_all();
    channel.written = foreign;
    channel.close("NOT_FOUND - no exchange 'x' in vhost '/'");
    for (outcome, reason) in outcomes.iter_mut().zip(["NO_ROUTE", "NOT_FOUND"]) {
        let error = error(outcome);
        assert_eq!(error.kind(), TransportErrorKind::TimedOut, "{error}");
        for part in [reason, "may have arrived"] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}

/// The broker stops reading at what it refuses.
#[test]
fn what_was_written_behind_a_refused_message_has_not_arrived() {
    let mut channel = Channel::new(100);
    let (closed, open) = (exchange("closed", None), inbox("q"));
    let _culprit = channel.take(&closed, 1);
    let mut behind = channel.take_mandatory(&open, 2);
    channel.write();
    channel.declare();
    assert_eq!(channel.write(), [1, 2]);
    channel.close("ACCESS_REFUSED - access to exchange 'closed' in vhost '/' refused for user 'u'");
    assert_eq!(channel.write(), [2]);
    channel.give_back_all();
    assert_eq!(kind(&mut behind), Some(TransportErrorKind::Unroutable));
}

#[test]
fn what_is_refused_for_now_is_tried_again_before_what_goes_to_the_same_target() {
    let mut channel = Channel::new(100);
    let (full, well) = (inbox("full"), inbox("well"));
    let mut outcomes: Vec<_> = (1..=3).map(|body| channel.take(&full, body)).collect();
    assert_eq!(channel.write(), [1, 2, 3]);
    channel.nack_all();
    outcomes.extend((4..=8).map(|body| channel.take(&full, body)));
    let mut other = channel.take(&well, 9);
    assert_eq!(channel.write(), [9], "the others go on");
    channel.confirm_all();
    assert_eq!(kind(&mut other), None);
    channel.rest();
    assert_eq!(channel.write(), [1], "one shows whether there is room");
    channel.nack_all();
    assert_eq!(channel.write(), NOTHING);
    channel.rest();
    for together in [vec![1], vec![2, 3], vec![4, 5, 6, 7]] {
        assert_eq!(channel.write(), together);
        channel.confirm_all();
    }
    assert_eq!(channel.write(), [8]);
    channel.confirm_all();
    for outcome in &mut outcomes {
        assert_eq!(kind(outcome), None);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_until_its_deadline_is_refused() {
    let mut channel = Channel::new(100);
    let full = inbox("full");
    let mut refused = channel.take(&full, 1);
    channel.write();
    channel.nack_all();
    let mut behind = channel.take(&full, 2);
    channel.write();
    tokio::time::advance(Duration::from_secs(30)).await;
    channel.schedule.expire(None);
    for (outcome, text) in [
        (&mut refused, "did not take it before its deadline"),
        (&mut behind, "refused those before it"),
    ] {
        let error = error(outcome);
        assert_eq!(error.kind(), TransportErrorKind::Nacked);
        assert!(error.to_string().contains(text), "{error}");
    }
    assert!(channel.schedule.is_idle());
}

#[tokio::test(start_paused = true)]
async fn what_was_on_its_way_before_may_have_arrived_though_it_is_refused_now() {
    let mut channel = Channel::new(100);
    let mut outcome = channel.take(&inbox("full"), 1);
    channel.write();
    channel.written.clear();
    channel.schedule.recover(None);
    channel.write();
    channel.nack_all();
    tokio::time::advance(Duration::from_secs(30)).await;
    channel.schedule.expire(None);
    let error = error(&mut outcome);
    assert_eq!(error.kind(), TransportErrorKind::TimedOut, "{error}");
    assert!(error.to_string().contains("negative"), "{error}");
}

/// Each try closes the channel that all others use.
#[tokio::test(start_paused = true)]
async fn an_exchange_that_may_not_be_written_to_is_not_tried_with_each_message() {
    let mut channel = Channel::new(100);
    let denied = exchange("denied", None);
    let mut outcomes = vec![channel.take(&denied, 1)];
    channel.write();
    channel.declare();
    assert_eq!(channel.write(), [1]);
    let words = "ACCESS_REFUSED - access to exchange 'denied' in vhost '/' refused for user 'app'";
    channel.close(words);
    outcomes.push(channel.take(&denied, 2));
    assert_eq!(channel.write(), NOTHING);
    for outcome in &mut outcomes {
        assert_eq!(kind(outcome), Some(TransportErrorKind::AccessRefused));
    }
    tokio::time::advance(Duration::from_secs(5)).await;
    let _later = channel.take(&denied, 3);
    assert_eq!(channel.write(), [3]);
}

/// Messages wait for a confirm only, once the broker takes messages again.
#[tokio::test(start_paused = true)]
async fn what_waits_after_a_refusal_that_is_over_is_not_called_refused() {
    let mut channel = Channel::new(100);
    let target = inbox("full");
    let _refused = channel.take(&target, 1);
    channel.write();
    channel.nack_all();
    channel.rest();
    assert_eq!(channel.write(), [1]);
    channel.confirm_all();
    let _unconfirmed = [2, 3].map(|body| channel.take(&target, body));
    let mut behind = channel.take(&target, 4);
    assert_eq!(channel.write(), [2, 3]);
    tokio::time::advance(Duration::from_secs(30)).await;
    channel.schedule.expire(None);
    assert_eq!(kind(&mut behind), Some(TransportErrorKind::Unreachable));
}
