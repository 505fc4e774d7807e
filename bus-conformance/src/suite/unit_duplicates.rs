//! Units of work that recognize duplicates of handled and running messages.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bus_core::consume::Begun;
use bus_core::idempotency::StoredReply;
use bus_core::observe::{Observer, PostReceive};
use bus_core::{Endpoint, Policy};

use crate::support::contracts::{Answered, Ask, Place};
use crate::support::fixture::{places, serial};
use crate::support::units::{Step, Units};
use crate::support::{Outcome, Recorder, numbers};
use crate::test_broker::TestBroker;

use Step::{Begun as Began, Commit, RolledBack};

/// Outcomes of deliveries, as observers hear of them.
#[derive(Clone, Debug, Default)]
struct Outcomes(Arc<Mutex<Vec<String>>>);

impl Observer for Outcomes {
    fn post_receive(&self, ended: &PostReceive<'_>) {
        let outcome = format!("{:?} after {}", ended.outcome, ended.attempts);
        self.0.lock().expect("no panic").push(outcome);
    }
}

/// Returns units that know every message after the first commit, with its replies.
fn knowing() -> Units {
    let kept: Arc<Mutex<Option<Vec<StoredReply>>>> = Arc::default();
    let known = Arc::clone(&kept);
    Units::new()
        .beginning(move |_| {
            let replies = known.lock().expect("no panic").clone();
            Ok(replies.map(Begun::Duplicate))
        })
        .committing(move |sent| {
            let replies = sent.iter().map(StoredReply::of).collect();
            *kept.lock().expect("no panic") = Some(replies);
            Ok(sent)
        })
}

/// A message that its unit knows is not consumed again, but answered.
async fn a_duplicate_is_answered_and_not_consumed(broker: &dyn TestBroker) -> Outcome {
    let units = knowing();
    let (asked, outcomes) = (Recorder::<Ask>::new(), Outcomes::default());
    let answer = asked.then(|ctx| async move {
        let number = 40 + ctx.message().number;
        Ok(ctx
            .respond(&Answered { number })
            .header("Tenant", "north")
            .await?)
    });
    let queue = broker.name("unit");
    let endpoint = serial(&queue).consumer(units.around(answer));
    let server = broker.bus().observe(outcomes.clone());
    let server = server.endpoint(endpoint).start().await?;
    let client = broker.bus().start().await?;
    for number in 1..=2 {
        let request = client.request::<Answered>(&Ask { number });
        let reply = request
            .to(bus_core::queue(queue.clone()))
            .response()
            .await?;
        assert_eq!(reply.message().number, 41);
        assert_eq!(reply.headers().text("Tenant"), Some("north"));
    }
    server.shutdown().await?;
    client.shutdown().await?;
    assert_eq!(asked.calls(), 1);
    assert_eq!(units.steps(), [Began(1), Commit(1), Began(1)]);
    let outcomes = outcomes.0.lock().expect("no panic");
    assert_eq!(*outcomes, ["Handled after 1", "Duplicate after 0"]);
    Ok(())
}

/// A duplicate of a message that is being handled waits without a slot.
async fn a_duplicate_in_progress_waits_without_a_slot(broker: &dyn TestBroker) -> Outcome {
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let units = Units::new().beginning(move |ctx| {
        let place = ctx.message().downcast_ref::<Place>();
        let is_held = place.is_some_and(|place| place.number == 0);
        Ok((is_held && !over.load(Ordering::SeqCst)).then_some(Begun::InProgress))
    });
    let placed = Recorder::<Place>::new();
    let queue = broker.name("unit");
    let endpoint = Endpoint::new(&queue)
        .concurrency(2)
        .policy(Policy::new().prefetch(20))
        .consumer(units.around(placed.clone()));
    let bus = broker.start(endpoint).await?;
    places(&bus, &queue, [0, 0, 0, 1, 2, 3, 4, 5]).await?;
    assert_eq!(numbers(&placed.take(5).await), [1, 2, 3, 4, 5]);
    is_over.store(true, Ordering::SeqCst);
    assert_eq!(numbers(&placed.take(3).await), [0, 0, 0]);
    assert!(units.steps().iter().all(|step| *step != RolledBack));
    bus.shutdown().await?;
    Ok(())
}

behaviours! { unit_duplicates:
    a_duplicate_is_answered_and_not_consumed,
    a_duplicate_in_progress_waits_without_a_slot,
}
