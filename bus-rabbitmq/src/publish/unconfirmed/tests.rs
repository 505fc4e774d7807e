use bus_core::transport::{Outgoing, Target};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::*;

type Outcome = oneshot::Receiver<Result<(), TransportError>>;

fn pending(mark: Option<u64>) -> (Box<PendingPublish>, Outcome) {
    let mut outgoing = Outgoing::new(Target::Inbox("q".into()), Bytes::from_static(b"x"));
    outgoing.mandatory = mark.is_some();
    let (done, outcome) = oneshot::channel();
    let pending = PendingPublish::new(outgoing, mark.unwrap_or_default(), done).unwrap();
    (Box::new(pending), outcome)
}

fn acked(returned: Option<u64>) -> Confirmed {
    let returned = returned.map(|mark| Returned {
        mark,
        reason: "NO_ROUTE".to_owned(),
    });
    Confirmed {
        acked: true,
        returned,
    }
}

fn kind(outcome: &mut Outcome) -> Option<TransportErrorKind> {
    let result = outcome.try_recv().expect("decided");
    result.err().map(|error| error.kind())
}

fn came_back(unconfirmed: &mut Unconfirmed) -> Vec<Option<u64>> {
    unconfirmed
        .returned()
        .iter()
        .map(|pending| pending.mark)
        .collect()
}

#[test]
fn a_return_that_comes_with_another_confirm_is_credited_to_its_message() {
    let mut unconfirmed = Unconfirmed::default();
    let ((first, mut first_outcome), (second, _outcome)) = (pending(Some(1)), pending(Some(2)));
    let (one, two) = (unconfirmed.insert(first), unconfirmed.insert(second));
    // Both were returned; the client handed out each return with the confirm of the other.
    unconfirmed.confirm(one, acked(Some(2)));
    unconfirmed.end_round();
    assert!(first_outcome.try_recv().is_err(), "not decided yet");
    unconfirmed.confirm(two, acked(Some(1)));
    assert_eq!(came_back(&mut unconfirmed), [Some(1), Some(2)]);
}

#[test]
fn a_routed_message_that_carries_the_return_of_another_is_routed() {
    let mut unconfirmed = Unconfirmed::default();
    let (routed, mut routed_outcome) = pending(Some(1));
    let (returned, _outcome) = pending(Some(2));
    let (plain, mut plain_outcome) = pending(None);
    let orders = [routed, returned, plain].map(|pending| unconfirmed.insert(pending));
    unconfirmed.confirm(orders[0], acked(Some(2)));
    unconfirmed.end_round();
    unconfirmed.confirm(orders[2], acked(None));
    unconfirmed.end_round();
    assert_eq!(kind(&mut routed_outcome), None);
    assert_eq!(kind(&mut plain_outcome), None);
    unconfirmed.confirm(orders[1], acked(None));
    assert_eq!(came_back(&mut unconfirmed), [Some(2)]);
    assert!(unconfirmed.is_empty());
}

#[test]
fn the_last_one_on_the_way_is_decided() {
    let mut unconfirmed = Unconfirmed::default();
    let (returned, mut returned_outcome) = pending(Some(1));
    let (routed, mut routed_outcome) = pending(Some(2));
    let (one, two) = (unconfirmed.insert(returned), unconfirmed.insert(routed));
    unconfirmed.confirm(one, acked(None));
    unconfirmed.end_round();
    assert_eq!(kind(&mut returned_outcome), None);
    unconfirmed.confirm(two, acked(Some(77)));
    unconfirmed.end_round();
    assert_eq!(kind(&mut routed_outcome), None);
}

#[test]
fn a_return_that_is_taken_late_still_counts() {
    let mut unconfirmed = Unconfirmed::default();
    let (routed, mut routed_outcome) = pending(Some(1));
    let (returned, _outcome) = pending(Some(2));
    let (one, two) = (unconfirmed.insert(routed), unconfirmed.insert(returned));
    // The client confirmed the first message before the second, with the return of the second.
    unconfirmed.confirm(two, acked(None));
    assert!(came_back(&mut unconfirmed).is_empty(), "not decided yet");
    unconfirmed.confirm(one, acked(Some(2)));
    unconfirmed.end_round();
    assert_eq!(kind(&mut routed_outcome), None);
    assert_eq!(came_back(&mut unconfirmed), [Some(2)]);
}

#[test]
fn what_carried_the_return_of_another_waits_for_a_later_round() {
    let mut unconfirmed = Unconfirmed::default();
    let (carrier, mut carrier_outcome) = pending(Some(1));
    let (stranger, _outcome) = pending(Some(2));
    let (open, mut open_outcome) = pending(Some(3));
    let orders = [carrier, stranger, open].map(|pending| unconfirmed.insert(pending));
    // The order in which the client received the two is not known, so the confirm without a
    // return says nothing about the other message.
    unconfirmed.confirm(orders[0], acked(Some(2)));
    unconfirmed.confirm(orders[1], acked(None));
    unconfirmed.end_round();
    assert!(carrier_outcome.try_recv().is_err(), "not decided yet");
    assert_eq!(came_back(&mut unconfirmed), [Some(2)]);
    unconfirmed.confirm(orders[2], acked(None));
    unconfirmed.end_round();
    assert_eq!(kind(&mut carrier_outcome), None);
    assert_eq!(kind(&mut open_outcome), None);
}

#[test]
fn a_refusal_belongs_to_its_message() {
    let mut unconfirmed = Unconfirmed::default();
    let ((refused, mut outcome), (taken, mut taken_outcome)) = (pending(Some(1)), pending(None));
    let orders = [refused, taken].map(|pending| unconfirmed.insert(pending));
    let confirmed = Confirmed {
        acked: false,
        returned: None,
    };
    unconfirmed.confirm(orders[0], confirmed);
    unconfirmed.confirm(orders[1], acked(None));
    assert_eq!(kind(&mut taken_outcome), None);
    assert!(outcome.try_recv().is_err(), "it may be tried again");
    let nacked = unconfirmed.nacked();
    assert_eq!(
        nacked
            .iter()
            .map(|pending| pending.mark)
            .collect::<Vec<_>>(),
        [Some(1)]
    );
}

#[test]
fn what_may_have_come_back_is_sent_again_when_the_channel_is_lost() {
    let mut unconfirmed = Unconfirmed::default();
    let (carrier, mut outcome) = pending(Some(1));
    let (open, _outcome) = pending(Some(2));
    let one = unconfirmed.insert(carrier);
    unconfirmed.insert(open);
    unconfirmed.confirm(one, acked(Some(77)));
    unconfirmed.end_round();
    let lost = unconfirmed.drain();
    let marks = |messages: &PendingPublishes| {
        messages
            .iter()
            .map(|pending| pending.mark)
            .collect::<Vec<_>>()
    };
    assert_eq!(marks(&lost.confirmed), [Some(1)]);
    assert_eq!(marks(&lost.unconfirmed), [Some(2)]);
    assert!(outcome.try_recv().is_err(), "not decided");
    assert!(unconfirmed.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_message_sent_again_joins_the_one_that_is_still_on_its_way() {
    let mut unconfirmed = Unconfirmed::default();
    let (mut first, mut first_outcome) = pending(None);
    first.outgoing.deadline = Some(Instant::now());
    first.outgoing.message_id = Some("id".to_owned());
    let (mut again, mut again_outcome) = pending(None);
    again.outgoing.message_id = Some("id".to_owned());
    let order = unconfirmed.insert(first);
    unconfirmed.expire(Instant::now(), None);
    assert_eq!(kind(&mut first_outcome), Some(TransportErrorKind::TimedOut));
    assert!(
        unconfirmed.rejoin(again).is_none(),
        "it is the same message"
    );
    unconfirmed.confirm(order, acked(None));
    assert_eq!(kind(&mut again_outcome), None);
    assert_eq!(unconfirmed.expired, 0);
}

/// A confirm that came with the return of another message decides nothing.
///
/// Only a later confirm does.
#[tokio::test(start_paused = true)]
async fn a_deadline_holds_for_a_message_that_is_confirmed_but_perhaps_came_back() {
    let mut unconfirmed = Unconfirmed::default();
    let ((mut carrier, mut outcome), (open, _outcome)) = (pending(Some(1)), pending(Some(2)));
    carrier.outgoing.deadline = Some(Instant::now());
    carrier.outgoing.message_id = Some("id".to_owned());
    let orders = [carrier, open].map(|pending| unconfirmed.insert(pending));
    unconfirmed.confirm(orders[0], acked(Some(77)));
    unconfirmed.end_round();
    unconfirmed.expire(Instant::now(), None);
    assert_eq!(kind(&mut outcome), Some(TransportErrorKind::TimedOut));
    let (mut again, mut again_outcome) = pending(Some(3));
    again.outgoing.message_id = Some("id".to_owned());
    assert!(
        unconfirmed.rejoin(again).is_none(),
        "it is the same message"
    );
    unconfirmed.confirm(orders[1], acked(None));
    unconfirmed.end_round();
    assert_eq!(kind(&mut again_outcome), None);
    assert!(unconfirmed.undecided.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_given_up_before_its_confirm_is_decided_like_any_other() {
    let mut unconfirmed = Unconfirmed::default();
    let ((mut carrier, mut outcome), (open, _outcome)) = (pending(Some(1)), pending(Some(2)));
    carrier.outgoing.deadline = Some(Instant::now());
    let orders = [carrier, open].map(|pending| unconfirmed.insert(pending));
    unconfirmed.expire(Instant::now(), Some("it is away"));
    let error = outcome.try_recv().expect("decided").unwrap_err();
    assert!(error.to_string().ends_with("it is away"), "{error}");
    for (order, returned) in [(orders[0], Some(77)), (orders[1], None)] {
        unconfirmed.confirm(order, acked(returned));
        unconfirmed.end_round();
    }
    assert!(unconfirmed.undecided.is_empty());
    assert_eq!((unconfirmed.expired, unconfirmed.lapsed), (0, 0));
}
