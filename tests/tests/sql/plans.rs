//! Plans of PostgreSQL: no statement that runs often reads a whole table.

use std::time::Duration;

use bus_core::Endpoint;
use bus_core::idempotency::{Begin, IdempotencyStore};
use bus_core::transport::ScheduleToken;
use bus_sql::sqlx::Postgres;
use bus_tests::contracts::{Ordered, Place};
use bus_tests::{InMemoryTestBroker, Recorder, TestBroker};
use uuid::Uuid;

use crate::databases::{Fixture, Placing, TestDatabase};

/// Rows of each table; half of them are old.
const ROWS: &str = "\
    INSERT INTO bus_inbox (endpoint, key, fingerprint, handled_at) \
        SELECT 'sales', i::text, gen_random_uuid(), now() - i * interval '14 day' / 50000 \
        FROM generate_series(1, 50000) i; \
    INSERT INTO bus_idempotency (key, fingerprint, claim, until) \
        SELECT i::text, gen_random_uuid(), gen_random_uuid(), now() + (i - 25000) * interval '1 min' \
        FROM generate_series(1, 50000) i; \
    INSERT INTO bus_scheduled (part, due_at, token, destination, metadata, body) \
        SELECT 0, now() + i * interval '1 hour', gen_random_uuid(), '', '', '' \
        FROM generate_series(1, 50000) i; \
    INSERT INTO bus_outbox (part, destination, metadata, body) \
        SELECT 1, '', '', '' FROM generate_series(1, 50000) i; \
    ANALYZE";

/// How often a table that grows was read as a whole, and by an index.
async fn scans(db: &Fixture<Postgres>) -> [i64; 2] {
    // Each connection reports when it ends.
    db.sql.pool().close().await;
    let now = Postgres::again(db).await;
    let mut sums = [0, 0];
    for (sum, column) in sums.iter_mut().zip(["seq_scan", "idx_scan"]) {
        let query = format!(
            "SELECT coalesce(sum({column}), 0)::int8 FROM pg_stat_user_tables \
             WHERE relname IN ('bus_inbox', 'bus_idempotency', 'bus_scheduled', 'bus_outbox')"
        );
        *sum = Postgres::number(now.pool(), &query).await;
    }
    sums
}

async fn use_all(db: &Fixture<Postgres>) {
    let broker = InMemoryTestBroker::new();
    let broker: &dyn TestBroker = &broker;
    let ordered = Recorder::<Ordered>::new();
    let sales = Endpoint::new(broker.name("sales"));
    let audit = Endpoint::new(broker.name("audit")).consumer(ordered.clone());
    let bus = broker
        .bus()
        .background(db.sql.relay())
        .endpoint(sales.consumer(db.sql.consumer(Placing(Recorder::new()))))
        .endpoint(audit);
    let bus = bus.start().await.unwrap();
    for number in 0..100 {
        bus.publish(&Place { number }).await.unwrap();
    }
    let unit = db.sql.begin(&bus.sender()).await.unwrap();
    let soon = unit.publish(&Ordered { number: 100 });
    soon.deliver_in(Duration::from_millis(200)).await.unwrap();
    unit.commit().await.unwrap();
    ordered.take(101).await;
    db.sql.cancel(ScheduleToken::new()).await.unwrap();
    assert!(db.sql.prune().await.unwrap() > 40_000);
    bus.shutdown().await.unwrap();
    let store = db.sql.idempotency();
    let minute = Duration::from_secs(60);
    let begun = store.begin("new", Uuid::nil(), minute).await.unwrap();
    let Begin::Fresh(token) = begun else {
        panic!("the key is new");
    };
    store.begin("new", Uuid::nil(), minute).await.unwrap();
    store.extend(&token, minute).await.unwrap();
    store.complete(&token, Vec::new(), minute).await.unwrap();
    store.release(&token).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_reads_a_whole_table() {
    let mut db = Postgres::open().await;
    db.sql.migrate().await.unwrap();
    Postgres::run(db.sql.pool(), ROWS).await.unwrap();
    let [whole, by_index] = scans(&db).await;
    db.sql = Postgres::again(&db).await;
    use_all(&db).await;
    let [whole_after, by_index_after] = scans(&db).await;
    assert!(by_index_after > by_index + 10, "they were used");
    assert_eq!(whole_after, whole);
}
