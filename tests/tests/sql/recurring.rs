//! Messages that are sent again and again.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use bus_core::error::SendErrorKind;
use bus_core::serde_helpers::DateTime;
use bus_core::{Bus, ConsumeContext};
use bus_sql::{Missed, Recurrence, Sql};
use bus_tests::contracts::{LAST, Ordered};
use bus_tests::{InMemoryTestBroker, Recorder, TestBroker, eventually};

use crate::databases::{Fixture, TestDatabase, on_each_database};
use crate::relaying::audit;

on_each_database! {
    a_message_is_sent_at_each_time,
    each_time_is_sent_once_by_several_processes,
    what_is_set_again_keeps_its_time,
    a_paused_message_is_not_sent,
    a_removed_message_is_not_sent,
    missed_times_are_sent_once,
    missed_times_are_skipped,
    missed_times_are_all_sent_in_order,
    a_row_that_cannot_be_read_holds_up_no_other,
    a_message_that_is_none_is_refused,
}

const EACH_SECOND: &str = "* * * * * *";
const YEARLY: &str = "0 0 1 1 *";
const MINUTE: Duration = Duration::from_secs(60);

fn recurrence(line: &str) -> Recurrence {
    Recurrence::cron(line).expect("a line")
}

/// The time for which a message was sent.
fn due(ctx: &ConsumeContext<Ordered>) -> SystemTime {
    let text = ctx.envelope().headers.text("MT-Quartz-Scheduled");
    let text = serde_json::json!(text.expect("a header"));
    let time: DateTime = serde_json::from_value(text).expect("a time");
    time.into()
}

async fn set<DB: TestDatabase>(
    sql: &Sql<DB>,
    bus: &Bus,
    name: &str,
    times: &Recurrence,
    number: u32,
) {
    let recurring = sql.recurring(&bus.sender());
    let set = recurring.set(name, times, |sender| sender.publish(&Ordered { number }));
    set.await.unwrap();
}

/// A bus with a relay, and what it hears.
async fn start<DB: TestDatabase>(
    broker: &dyn TestBroker,
    sql: &Sql<DB>,
    heard: &Recorder<Ordered>,
) -> Bus {
    let bus = broker.bus().background(sql.relay());
    bus.endpoint(audit(broker, heard)).start().await.unwrap()
}

/// Sets the next time of a row so many seconds back.
async fn miss<DB: TestDatabase>(db: &Fixture<DB>, seconds: u32) {
    let back = if DB::NAME == "SQLite" {
        format!("next_at - {seconds} * 1000000")
    } else {
        format!("next_at - interval '{seconds} seconds'")
    };
    let miss = format!("UPDATE bus_recurring SET next_at = {back}");
    DB::run(db.sql.pool(), &miss).await.unwrap();
}

async fn a_message_is_sent_at_each_time<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let heard = Recorder::new();
    let bus = start(&broker, &db.sql, &heard).await;
    set(&db.sql, &bus, "tick", &recurrence(EACH_SECOND), 1).await;
    let calls = heard.take(3).await;
    let times: Vec<_> = calls.iter().map(due).collect();
    for (earlier, later) in times.iter().zip(&times[1..]) {
        assert_eq!(*later, *earlier + Duration::from_secs(1));
    }
    let now = SystemTime::now();
    assert!(times.iter().all(|time| *time <= now), "never early");
    let ids: HashSet<_> = calls.iter().map(ConsumeContext::message_id).collect();
    assert_eq!(ids.len(), 3, "each is a message of its own");
    for ctx in &calls {
        assert_eq!(
            ctx.conversation_id(),
            ctx.message_id(),
            "in its own conversation"
        );
    }
    bus.shutdown().await.unwrap();
}

async fn each_time_is_sent_once_by_several_processes<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let heard = Recorder::new();
    let bus = start(&broker, &db.sql, &heard).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        let sql = DB::again(&db).await;
        let relay = TestBroker::builder(&broker).background(sql.relay());
        others.push(relay.start().await.unwrap());
    }
    for other in others.iter().chain([&bus]) {
        set(&db.sql, other, "tick", &recurrence(EACH_SECOND), 1).await;
    }
    // The relay of the first process ends; another one takes its place.
    heard.next().await;
    let calls = heard.take(3).await;
    let times: HashSet<_> = calls.iter().map(due).collect();
    assert_eq!(times.len(), 3);
    for other in others {
        other.shutdown().await.unwrap();
    }
    bus.shutdown().await.unwrap();
}

async fn what_is_set_again_keeps_its_time<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let bus = TestBroker::builder(&broker).start().await.unwrap();
    let recurring = db.sql.recurring(&bus.sender());
    set(&db.sql, &bus, "report", &recurrence(YEARLY), 1).await;
    miss(&db, 100).await;
    let first = recurring.list().await.unwrap().remove(0);
    set(&db.sql, &bus, "report", &recurrence(YEARLY), 2).await;
    let again = recurring.list().await.unwrap().remove(0);
    assert_eq!(again.next, first.next, "the same line");
    set(&db.sql, &bus, "report", &recurrence("0 0 2 1 *"), 2).await;
    let other = recurring.list().await.unwrap().remove(0);
    assert_ne!(other.next, first.next, "another line");
    assert_eq!(other.name, "report");
    assert_eq!(other.recurrence, "0 0 2 1 * (UTC)");
    assert!(!other.paused);
    bus.shutdown().await.unwrap();
}

async fn a_paused_message_is_not_sent<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let heard = Recorder::new();
    let bus = start(&broker, &db.sql, &heard).await;
    let recurring = db.sql.recurring(&bus.sender());
    set(&db.sql, &bus, "one", &recurrence(EACH_SECOND), 1).await;
    heard.next().await;
    assert!(recurring.pause("one").await.unwrap());
    assert!(!recurring.pause("none").await.unwrap());
    assert!(recurring.list().await.unwrap()[0].paused);
    let paused = SystemTime::now();
    // Another one goes on, which shows that the time passes.
    set(&db.sql, &bus, "two", &recurrence(EACH_SECOND), 2).await;
    let mut last = heard.next().await;
    while due(&last) < paused + Duration::from_secs(2) {
        assert!(last.message().number == 2 || due(&last) <= paused);
        last = heard.next().await;
    }
    let resumed = SystemTime::now();
    assert!(recurring.resume("one").await.unwrap());
    assert!(!recurring.resume("none").await.unwrap());
    while last.message().number == 2 {
        last = heard.next().await;
    }
    assert!(due(&last) > resumed, "the times of the pause are over");
    bus.shutdown().await.unwrap();
}

async fn a_removed_message_is_not_sent<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let bus = TestBroker::builder(&broker).start().await.unwrap();
    let recurring = db.sql.recurring(&bus.sender());
    set(&db.sql, &bus, "one", &recurrence(YEARLY), 1).await;
    assert!(recurring.remove("one").await.unwrap());
    assert!(!recurring.remove("one").await.unwrap());
    assert_eq!(recurring.list().await.unwrap(), []);
    assert_eq!(db.rows("recurring").await, 0);
    bus.shutdown().await.unwrap();
}

/// Sets a message whose times of the last five minutes were not sent; returns those that are sent
/// of the times that are more than a minute past.
async fn after_five_minutes<DB: TestDatabase>(missed: Missed) -> Vec<SystemTime> {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let heard = Recorder::new();
    let test_broker: &dyn TestBroker = &broker;
    let before = test_broker.bus().start().await.unwrap();
    let each_minute = recurrence("* * * * *").missed(missed);
    set(&db.sql, &before, "each-minute", &each_minute, 1).await;
    miss(&db, 300).await;
    let begun = SystemTime::now();
    let bus = start(&broker, &db.sql, &heard).await;
    let recurring = db.sql.recurring(&bus.sender());
    eventually("nothing is missed", async || {
        let next = recurring.list().await.unwrap()[0].next;
        next > Some(SystemTime::now() - Duration::from_secs(1))
    })
    .await;
    eventually("all has left", async || db.rows("outbox").await == 0).await;
    bus.publish(&Ordered { number: LAST }).await.unwrap();
    let times = heard.until_last().await;
    before.shutdown().await.unwrap();
    bus.shutdown().await.unwrap();
    let times = times.iter().map(due);
    times.filter(|time| *time <= begun - MINUTE).collect()
}

async fn missed_times_are_sent_once<DB: TestDatabase>() {
    assert_eq!(after_five_minutes::<DB>(Missed::Once).await.len(), 1);
}

async fn missed_times_are_skipped<DB: TestDatabase>() {
    assert!(after_five_minutes::<DB>(Missed::Skip).await.is_empty());
}

async fn missed_times_are_all_sent_in_order<DB: TestDatabase>() {
    let times = after_five_minutes::<DB>(Missed::All).await;
    assert!((3..=5).contains(&times.len()), "{times:?}");
    for (earlier, later) in times.iter().zip(&times[1..]) {
        assert_eq!(*later, *earlier + MINUTE);
    }
}

async fn a_row_that_cannot_be_read_holds_up_no_other<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let heard = Recorder::new();
    let bus = start(&broker, &db.sql, &heard).await;
    let recurring = db.sql.recurring(&bus.sender());
    set(&db.sql, &bus, "a", &recurrence(EACH_SECOND), 1).await;
    set(&db.sql, &bus, "b", &recurrence(EACH_SECOND), 2).await;
    let edit = "UPDATE bus_recurring SET cron = 'every day' WHERE name = 'a'";
    DB::run(db.sql.pool(), edit).await.unwrap();
    eventually("it is given up", async || {
        recurring.list().await.unwrap()[0].next.is_none()
    })
    .await;
    let seen = heard.calls();
    while heard.calls() < seen + 2 {
        heard.next().await;
    }
    // Set again, it is sent.
    set(&db.sql, &bus, "a", &recurrence(EACH_SECOND), 3).await;
    while heard.next().await.message().number != 3 {}
    bus.shutdown().await.unwrap();
}

async fn a_message_that_is_none_is_refused<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let bus = TestBroker::builder(&broker).start().await.unwrap();
    let recurring = db.sql.recurring(&bus.sender());
    let yearly = recurrence(YEARLY);
    let later = recurring.set("later", &yearly, |sender| {
        let message = sender.publish(&Ordered { number: 1 });
        message.deliver_in(Duration::from_secs(5))
    });
    let error = later.await.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::Refused);
    assert!(error.to_string().contains("`later`"), "{error}");
    let elsewhere = recurring.set("elsewhere", &yearly, |_| {
        bus.publish(&Ordered { number: 1 })
    });
    assert_eq!(elsewhere.await.unwrap_err().kind(), SendErrorKind::Refused);
    assert_eq!(recurring.list().await.unwrap(), []);
    bus.shutdown().await.unwrap();
}
