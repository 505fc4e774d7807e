//! Ids, headers and business keys.

use bus_core::Message;
use bus_saga::{On, Saga, SagaState, StateMachine, by};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::order::{OrderPlaced, OrderShipped, find, order_saga, placed, shipped, start};

#[tokio::test(start_paused = true)]
async fn an_event_that_names_no_instance_fails_at_once() {
    let (harness, _) = start(order_saga()).await;
    harness.publish(&placed(Uuid::nil(), "A-7")).await.unwrap();
    harness.publish(&shipped("")).await.unwrap();
    harness.quiescent().await;
    let failed = harness.faulted::<OrderPlaced>().all();
    assert_eq!(
        failed[0].error(),
        Some("saga `order`: OrderPlaced names no instance: its id or key is missing, or empty")
    );
    assert_eq!(harness.faulted::<OrderShipped>().count(), 1);
    harness.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_key_names_one_instance() {
    let (harness, orders) = start(order_saga()).await;
    let [first, second] = [Uuid::now_v7(), Uuid::now_v7()];
    harness.publish(&placed(first, "Ä/7 '\"\0")).await.unwrap();
    harness.quiescent().await;
    harness.publish(&placed(second, "Ä/7 '\"\0")).await.unwrap();
    harness.quiescent().await;
    let failed = harness.faulted::<OrderPlaced>().all();
    assert!(failed[0].error().unwrap().contains("for two instances"));
    assert_eq!(orders.find(second).await.unwrap(), None);
    let found = orders.find_by("number", "Ä/7 '\"\0").await.unwrap();
    assert_eq!(found.unwrap().id, first);
    harness.shutdown().await.unwrap();
}

#[derive(Serialize, Deserialize, Message)]
#[message("Parcels:Sent")]
struct Sent {
    label: String,
    /// Label that the instance takes.
    takes: String,
}

#[derive(Serialize, Deserialize, Message)]
#[message("Parcels:Seen")]
struct Seen {}

#[derive(Serialize, Deserialize, Message)]
#[message("Parcels:Received", correlation = "parcel")]
struct Received {
    parcel: Uuid,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Parcel {
    label: String,
    seen: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)]
enum Way {
    Away,
}

impl Saga for Parcel {
    type State = Way;
    const NAME: &'static str = "parcel";
}

fn parcels() -> StateMachine<Parcel> {
    let mut saga = StateMachine::<Parcel>::new();
    let label = saga.key("label", |parcel: &Parcel| Some(parcel.label.clone()));
    let sent = saga.event(label.of(|it: &Sent| it.label.clone()));
    let seen = saga.event(by::header::<Seen>("Parcel"));
    let received = saga.event(by::correlation_id::<Received>());
    saga.initially(sent, |on| {
        on.set(|parcel, sent| parcel.label.clone_from(&sent.takes))
            .go(Way::Away)
    })
    .during(Way::Away, sent, |on| {
        on.set(|parcel, sent| parcel.label.clone_from(&sent.takes))
            .stay()
    })
    .during(Way::Away, seen, |on| {
        on.set(|parcel, _| parcel.seen += 1).stay()
    })
    .during(Way::Away, received, On::finish);
    saga
}

#[tokio::test(start_paused = true)]
async fn a_key_begins_an_instance_and_never_changes() {
    let (harness, parcels) = start(parcels()).await;
    let send = |label: &str, takes: &str| Sent {
        label: label.to_owned(),
        takes: takes.to_owned(),
    };
    harness.publish(&send("X", "Y")).await.unwrap();
    harness.publish(&send("A", "A")).await.unwrap();
    harness.quiescent().await;
    harness.publish(&send("A", "B")).await.unwrap();
    harness.quiescent().await;
    let failed = harness.faulted::<Sent>().all();
    let errors: Vec<_> = failed.iter().filter_map(|it| it.error()).collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors.iter().all(|it| it.contains("a key cannot change")));
    let parcel = parcels.find_by("label", "A").await.unwrap().unwrap();
    assert_eq!((parcel.revision, parcel.data.label.as_str()), (1, "A"));
    assert_eq!(parcels.find_by("label", "Y").await.unwrap(), None);
    harness.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn headers_and_correlation_ids_name_instances() {
    let (harness, parcels) = start(parcels()).await;
    let (label, takes) = ("A".to_owned(), "A".to_owned());
    harness.publish(&Sent { label, takes }).await.unwrap();
    harness.quiescent().await;
    let id = parcels.find_by("label", "A").await.unwrap().unwrap().id;
    let seen = harness.publish(&Seen {}).header("Parcel", id.to_string());
    seen.await.unwrap();
    harness
        .publish(&Seen {})
        .header("Parcel", "no id")
        .await
        .unwrap();
    harness.quiescent().await;
    assert_eq!(find(&parcels, id).await.data.seen, 1);
    assert_eq!(harness.faulted::<Seen>().count(), 1);
    harness.publish(&Received { parcel: id }).await.unwrap();
    harness.quiescent().await;
    assert_eq!(find(&parcels, id).await.state, None);
    harness.shutdown().await.unwrap();
}
