//! Messages that come later, and messages that come again.

use std::time::{Duration, Instant};

use bus_core::send::MassTransitScheduler;
use bus_core::{Bus, ConsumeContext, Endpoint, Policy, Retry};
use bus_sql::Sql;
use bus_sql::sqlx::sqlite::SqlitePoolOptions;
use bus_sql::sqlx::{self, Sqlite};
use bus_tests::acme::SubmitOrder;
use bus_tests::peer::Command;
use bus_tests::{Recorder, eventually};
use serde_json::json;
use uuid::Uuid;

use crate::support::{Host, order};

const SOON: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_dotnet_comes_again_as_it_was() {
    let host = Host::new().await;
    let peer = host.peer(&[]).await;
    let recorder = Recorder::<SubmitOrder>::deciding(|ctx| match ctx.redelivery_count() {
        0 | 1 => Err("not yet".into()),
        _ => Ok(()),
    });
    let endpoint =
        Endpoint::new("rs-orders").policy(Policy::new().redelivery(Retry::interval(2, SOON)));
    let bus = host.serve(endpoint.consumer(recorder.clone())).await;
    let sent = order("A-1");
    let command = Command::publish("SubmitOrder", &sent)
        .with("headers", json!({ "Tenant": "north", "Weight": 7 }));
    peer.does(command).await;
    let calls = recorder.take(3).await;
    assert_eq!(calls[0].message(), &sent);
    assert_eq!(
        calls
            .iter()
            .map(ConsumeContext::redelivery_count)
            .collect::<Vec<_>>(),
        [0, 1, 2]
    );
    let first = calls[0].envelope().clone();
    for again in &calls[1..] {
        let mut again = again.envelope().clone();
        again.headers = again
            .headers
            .iter()
            .filter(|(name, _)| !name.starts_with("MT-"))
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect();
        assert_eq!(again, first, "only the counts are new");
    }
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redeliveries_by_dotnet_count() {
    let host = Host::new().await;
    let peer = host.peer(&[]).await;
    let recorder = Recorder::<SubmitOrder>::failing();
    let endpoint =
        Endpoint::new("rs-orders").policy(Policy::new().redelivery(Retry::interval(3, SOON)));
    let bus = host.serve(endpoint.consumer(recorder.clone())).await;
    let command = Command::publish("SubmitOrder", &order("A-1"))
        .with("headers", json!({ "MT-Redelivery-Count": 2 }));
    peer.does(command).await;
    host.take("rs-orders_error").await;
    let calls = recorder.take(2).await;
    assert_eq!(
        calls
            .iter()
            .map(ConsumeContext::redelivery_count)
            .collect::<Vec<_>>(),
        [2, 3]
    );
    assert_eq!(recorder.calls(), 2);
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_message_reaches_dotnet() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-orders"]).await;
    let bus = host.bus().await;
    let (begun, delay) = (Instant::now(), Duration::from_millis(1500));
    let later = order("later");
    bus.publish(&later).deliver_in(delay).await.unwrap();
    let consumed = peer.consumed("mt-orders").await;
    assert!(
        begun.elapsed() >= delay,
        "it came after {:?}",
        begun.elapsed()
    );
    assert_eq!(consumed.message["orderNumber"], "later");
    bus.shutdown().await.unwrap();
}

/// A scheduler of ours, with its table in memory.
async fn scheduler(host: &Host) -> (Bus, Sql<Sqlite>) {
    let options = SqlitePoolOptions::new().max_connections(1);
    let options = options.idle_timeout(None).max_lifetime(None);
    let sql = Sql::sqlite(
        options
            .connect("sqlite::memory:")
            .await
            .expect("a database"),
    );
    let endpoint = sql.scheduler_endpoint("quartz").concurrency(1);
    let bus = host.builder().background(sql.relay()).endpoint(endpoint);
    (bus.start().await.expect("the bus starts"), sql)
}

async fn count(sql: &Sql<Sqlite>, table: &'static str) -> i64 {
    let query = sqlx::query_scalar(table);
    query.fetch_one(sql.pool()).await.expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_scheduler_serves_dotnet() {
    let host = Host::new().await;
    let peer = host.peer(&[]).await;
    let (bus, sql) = scheduler(&host).await;
    // Deletes what is cancelled into a table that can be looked at.
    let watch = "CREATE TABLE cancelled AS SELECT * FROM bus_scheduled; \
                 CREATE TRIGGER note BEFORE DELETE ON bus_scheduled BEGIN \
                     INSERT INTO cancelled SELECT * FROM bus_scheduled WHERE id = old.id; END";
    sqlx::raw_sql(watch).execute(sql.pool()).await.unwrap();
    // In five minutes, and then cancelled; the peer reports no end of it.
    let command = Command::send("queue:mt-orders", "SubmitOrder", &order("later"));
    let handled = eventually("both commands are handled", async || {
        count(&sql, "SELECT count(*) FROM bus_inbox").await == 2
    });
    tokio::select! {
        ended = peer.run(command.with("op", "schedule")) => panic!("{ended:?}"),
        () = handled => {}
    }
    assert_eq!(count(&sql, "SELECT count(*) FROM bus_scheduled").await, 0);
    let kept = "SELECT count(*) FROM cancelled WHERE destination = 'inbox:mt-orders' \
                AND (due_at - created_at) / 1000000 BETWEEN 240 AND 300";
    assert_eq!(
        count(&sql, kept).await,
        1,
        "it was kept until it was cancelled"
    );
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dotnet_gets_what_a_scheduler_kept() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-orders"]).await;
    let (service, _sql) = scheduler(&host).await;
    let scheduler = MassTransitScheduler::new("quartz");
    let bus = host.builder().scheduler(scheduler).start().await.unwrap();
    let (begun, delay) = (Instant::now(), Duration::from_millis(700));
    let (later, id) = (order("later"), Uuid::new_v4());
    let sending = bus.publish(&later).deliver_in(delay).correlation_id(id);
    sending.header("Tenant", "north").await.unwrap();
    let consumed = peer.consumed("mt-orders").await;
    assert!(begun.elapsed() >= delay);
    assert_eq!(consumed.message["orderNumber"], "later");
    assert_eq!(consumed.correlation_id, Some(id));
    assert_eq!(consumed.headers["Tenant"], "north");
    bus.shutdown().await.unwrap();
    service.shutdown().await.unwrap();
}
