//! Redis is away, killed, frozen or cut off while messages are handled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bus_core::idempotency::{Begin, IdempotencyStore, Token};
use bus_core::{Bus, ConsumeContext, Endpoint, Idempotency};
use bus_redis::{RedisIdempotencyStore, RedisStoreErrorKind};
use bus_tests::contracts::{LAST, Ordered, Place};
use bus_tests::{
    Gate, InMemoryTestBroker, Proxy, Recorder, RedisServer, TestBroker, eventually, numbers, until,
    with,
};
use uuid::Uuid;

use crate::behind_a_bus::Count;
use crate::redis_settings::kind;

const LEASE: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(600);

fn store_at(address: &str) -> Arc<RedisIdempotencyStore> {
    let store = RedisIdempotencyStore::new(address).expect("an address");
    Arc::new(store.timeout(Duration::from_millis(500)))
}

async fn claim(store: &RedisIdempotencyStore, key: &str, lease: Duration) -> Token {
    let begun = store
        .begin(key, Uuid::nil(), lease)
        .await
        .expect("Redis is there");
    let Begin::Fresh(token) = begun else {
        panic!("`{key}` is {begun:?}");
    };
    token
}

/// The kind of error with which a call fails, as Redis is not there.
async fn fault(store: &RedisIdempotencyStore) -> RedisStoreErrorKind {
    let begun = store.begin("fault", Uuid::nil(), LONG).await;
    kind(&begun.expect_err("Redis is away"))
}

async fn passed(time: Duration) {
    let start = Instant::now();
    eventually("the time is over", async || start.elapsed() > time).await;
}

/// An endpoint that notes each message at a gate, then publishes an event.
struct Service {
    broker: InMemoryTestBroker,
    queue: String,
    bus: Bus,
    gate: Gate,
    seen: Recorder<Place>,
    events: Recorder<Ordered>,
    listening: Bus,
    /// Of the deliveries to the endpoint.
    count: Count,
}

impl Service {
    async fn start(store: &Arc<RedisIdempotencyStore>) -> Self {
        let broker = InMemoryTestBroker::new();
        let (seen, events, gate) = (Recorder::new(), Recorder::new(), Gate::closed());
        let (on, count): (&dyn TestBroker, _) = (&broker, Count::default());
        let listening = Endpoint::new(on.name("events")).concurrency(1);
        let listening = on
            .start(listening.consumer(events.clone()))
            .await
            .expect("started");
        let queue = on.name("once");
        let bus = on.bus().observe(count.clone());
        let bus = bus.endpoint(endpoint(&queue, store, &seen, &gate));
        let bus = bus.stop_timeout(Duration::from_millis(500)).start().await;
        Self {
            bus: bus.expect("started"),
            broker,
            queue,
            gate,
            seen,
            events,
            listening,
            count,
        }
    }

    async fn place(&self, id: Uuid) {
        let sending = self
            .bus
            .send_to(format!("queue:{}", self.queue), &Place { number: 7 });
        sending.message_id(id).await.expect("sent");
    }

    /// The events so far; the endpoint of the events handles one after the other.
    async fn events(&self) -> Vec<u32> {
        self.bus
            .publish(&Ordered { number: LAST })
            .await
            .expect("sent");
        numbers(&self.events.until_last().await)
    }

    /// Waits until so many deliveries are settled, one as handled and the others as duplicates, and stops.
    async fn stop_clean(self, deliveries: u32) {
        self.count.settle(deliveries).await;
        assert_eq!(self.count.read(), (1, deliveries - 1));
        self.bus.shutdown().await.expect("stopped");
        self.listening.shutdown().await.expect("stopped");
        assert_eq!(self.broker.depth(&self.queue).await, Some(0));
        let failed = self.broker.depth(&format!("{}_error", self.queue)).await;
        assert_eq!(failed.unwrap_or(0), 0);
    }
}

fn endpoint(
    queue: &str,
    store: &Arc<RedisIdempotencyStore>,
    seen: &Recorder<Place>,
    gate: &Gate,
) -> Endpoint {
    let state = (seen.clone(), gate.clone());
    let consumer = with(
        state,
        async |(seen, gate): (Recorder<_>, Gate), ctx: ConsumeContext<Place>| {
            seen.note(&ctx);
            gate.pass().await;
            let number = ctx.message().number;
            Ok(ctx.publish(&Ordered { number }).await?)
        },
    );
    let once = Idempotency::shared(Arc::clone(store) as Arc<dyn IdempotencyStore>).lease(LEASE);
    Endpoint::new(queue)
        .concurrency(4)
        .idempotency(once)
        .consumer(consumer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_nothing_is_consumed_and_the_message_goes_back() {
    let server = RedisServer::private().await;
    let store = store_at(server.url());
    let service = Service::start(&store).await;
    service.gate.open();
    server.kill().await;
    assert_eq!(fault(&store).await, RedisStoreErrorKind::Unreachable);
    service.place(Uuid::now_v7()).await;
    let broker: &dyn TestBroker = &service.broker;
    broker.until_depth(&service.queue, 0).await;
    // It was handed out, and goes back when its service stops: cut off as it waits for the store,
    // or, on a busy machine, before it has begun.
    let _ = service.bus.shutdown().await;
    broker.until_depth(&service.queue, 1).await;
    assert_eq!(service.seen.calls(), 0);
    server.start_again().await;
    let again = broker.start(endpoint(
        &service.queue,
        &store,
        &service.seen,
        &service.gate,
    ));
    let again = again.await.unwrap();
    service.seen.next().await;
    again.shutdown().await.unwrap();
    assert_eq!(broker.depth(&service.queue).await, Some(0));
    assert_eq!(service.seen.calls(), 1);
}

/// The outage is longer than the lease; nobody else took the key meanwhile, and Redis still knows whose it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_in_the_middle_repeats_no_effect() {
    let server = RedisServer::private().await;
    let store = store_at(server.url());
    let service = Service::start(&store).await;
    let id = Uuid::now_v7();
    service.place(id).await;
    service.gate.holds(1).await;
    server.kill().await;
    assert_eq!(fault(&store).await, RedisStoreErrorKind::Unreachable);
    service.gate.open();
    passed(LEASE * 2).await;
    assert_eq!(
        service.events().await,
        [0; 0],
        "what it sent waits for the store"
    );
    server.start_again().await;
    let event = service.events.next().await;
    assert_eq!(event.message().number, 7);
    service.place(id).await;
    assert_eq!(service.seen.calls(), 1);
    service.stop_clean(2).await;
}

/// Whoever has the key when Redis answers again: what leaves, leaves once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_frozen_past_the_lease_lets_one_owner_send() {
    let server = RedisServer::private().await;
    let store = store_at(server.url());
    let service = Service::start(&store).await;
    let id = Uuid::now_v7();
    service.place(id).await;
    service.gate.holds(1).await;
    server.freeze().await;
    let fault = fault(&store).await;
    assert_eq!(
        fault,
        RedisStoreErrorKind::TimedOut(Duration::from_millis(500))
    );
    for _ in 0..2 {
        service.place(id).await;
    }
    passed(LEASE * 2).await;
    service.gate.open();
    server.thaw().await;
    assert_eq!(service.events.next().await.message().number, 7);
    service.count.settle(3).await;
    assert_eq!(service.events().await, [0; 0]);
    service.stop_clean(3).await;
}

#[tokio::test]
async fn a_claim_that_ran_out_while_redis_was_frozen_can_be_stolen_and_is_fenced_off() {
    let server = RedisServer::private().await;
    let (owner, thief) = (store_at(server.url()), store_at(server.url()));
    thief.connect().await.unwrap();
    let stolen = claim(&owner, "orders/7", LEASE).await;
    server.freeze().await;
    assert!(matches!(
        fault(&owner).await,
        RedisStoreErrorKind::TimedOut(_)
    ));
    passed(LEASE).await;
    server.thaw().await;
    let current = claim(&thief, "orders/7", LONG).await;
    assert!(!owner.extend(&stolen, LONG).await.unwrap());
    assert!(!owner.complete(&stolen, Vec::new(), LONG).await.unwrap());
    assert!(thief.complete(&current, Vec::new(), LONG).await.unwrap());
}

#[tokio::test]
async fn a_claim_that_ran_out_is_its_owner_s_until_another_one_takes_it() {
    let server = RedisServer::private().await;
    let store = store_at(server.url());
    let short = Duration::from_millis(50);
    let (late, witness) = (
        claim(&store, "late", short).await,
        claim(&store, "witness", short).await,
    );
    let taken = until("the lease of the witness runs out", async || {
        let begun = store.begin("witness", Uuid::nil(), LONG).await.unwrap();
        (begun != Begin::InProgress).then_some(begun)
    });
    assert!(matches!(taken.await, Begin::Fresh(_)));
    server.kill().await;
    server.start_again().await;
    assert!(store.extend(&late, LONG).await.unwrap());
    assert!(store.complete(&late, Vec::new(), LONG).await.unwrap());
    assert!(!store.complete(&witness, Vec::new(), LONG).await.unwrap());
}

#[tokio::test]
async fn a_connection_that_is_cut_is_made_again_by_the_call_that_meets_it() {
    let server = RedisServer::private().await;
    let proxy = Proxy::start(server.host()).await;
    let store = store_at(&server.url().replace(server.host(), &proxy.host()));
    let token = claim(&store, "orders/7", LONG).await;
    proxy.cut();
    eventually("it is cut", async || proxy.cuts() == 1).await;
    assert!(store.extend(&token, LONG).await.unwrap());
    assert_eq!(proxy.connections(), 2);
}

/// A connection that has fallen silent is given up, as nothing will ever close it.
#[tokio::test]
async fn a_silent_connection_is_replaced() {
    let server = RedisServer::private().await;
    let proxy = Proxy::start(server.host()).await;
    let store = store_at(&server.url().replace(server.host(), &proxy.host()));
    store.connect().await.unwrap();
    proxy.drop_answers(true);
    assert!(matches!(
        fault(&store).await,
        RedisStoreErrorKind::TimedOut(_)
    ));
    proxy.drop_answers(false);
    claim(&store, "orders/7", LONG).await;
    assert_eq!(proxy.connections(), 2);
}

/// The first answer is lost with the connection: the same claim begins again.
#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_had_by_the_same_call() {
    let server = RedisServer::private().await;
    let proxy = Proxy::start(server.host()).await;
    let address = server.url().replace(server.host(), &proxy.host());
    let store = Arc::new(RedisIdempotencyStore::new(&address).unwrap());
    // Redis has the script.
    claim(&store, "orders/6", LONG).await;
    proxy.drop_answers(true);
    let begun = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.begin("orders/7", Uuid::nil(), LONG).await })
    };
    eventually("Redis has the claim", async || {
        server.command("EXISTS bus:idempotency:orders/7").await == ":1"
    })
    .await;
    // Cut before its answer passes.
    proxy.cut();
    eventually("it is cut", async || proxy.cuts() == 1).await;
    proxy.drop_answers(false);
    let begun = begun.await.unwrap().unwrap();
    assert!(matches!(begun, Begin::Fresh(_)), "{begun:?}");
}
