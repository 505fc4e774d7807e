//! How the store meets its Redis: who is let in, what is refused, what is warned of, what is never sent.

use std::error::Error;
use std::time::Duration;

use bus_core::idempotency::{Begin, IdempotencyStore, StoreError};
use bus_redis::{RedisIdempotencyStore, RedisStoreError, RedisStoreErrorKind};
use bus_tests::{Broker, Log, RedisServer, within};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use uuid::Uuid;

const LEASE: Duration = Duration::from_secs(600);

fn store_at(address: &str) -> RedisIdempotencyStore {
    RedisIdempotencyStore::new(address).expect("an address")
}

async fn begin(store: &RedisIdempotencyStore) -> Result<Begin, StoreError> {
    store.begin("orders/7", Uuid::nil(), LEASE).await
}

/// The store's error, below the one that every store gives.
pub(crate) fn kind(error: &StoreError) -> RedisStoreErrorKind {
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<RedisStoreError>());
    cause.unwrap_or_else(|| panic!("{error:?}")).kind()
}

/// What is written in logs and to the terminal.
fn words(error: &dyn Error) -> String {
    let cause = error.source().map(ToString::to_string);
    format!("{error:?} {error}: {}", cause.unwrap_or_default())
}

#[tokio::test]
async fn a_wrong_password_is_refused_without_being_repeated_and_healed_by_the_right_one() {
    let server = RedisServer::private().await;
    let store = store_at(&format!("redis://:wr0ng-s3cret@{}", server.host()));
    let error = store.connect().await.unwrap_err();
    assert_eq!(error.kind(), RedisStoreErrorKind::AccessRefused);
    assert_eq!(kind(&begin(&store).await.unwrap_err()), error.kind());
    let words = words(&error);
    assert!(words.contains(server.host()), "{words}");
    assert!(!words.contains("wr0ng"), "{words}");
    let changed = server.command("CONFIG SET requirepass wr0ng-s3cret").await;
    assert_eq!(changed, "+OK");
    store.connect().await.unwrap();
}

#[tokio::test]
async fn a_missing_password_is_refused() {
    let store = store_at(&format!("redis://{}", RedisServer::shared().await.host()));
    let error = store.connect().await.unwrap_err();
    assert_eq!(
        error.kind(),
        RedisStoreErrorKind::AccessRefused,
        "{}",
        words(&error)
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let host = format!("127.0.0.1:{}", Broker::free_port());
    let error = store_at(&format!("redis://{host}"))
        .connect()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), RedisStoreErrorKind::Unreachable);
    assert!(error.to_string().contains(&host), "{error}");
}

#[tokio::test]
async fn a_user_without_rights_is_refused_and_one_with_the_rights_of_the_docs_is_not() {
    let server = RedisServer::private().await;
    let store = store_at(&format!("redis://bus:pw@{}", server.host())).prefix("bus:");
    let allow = "+evalsha +script|load +time +exists +del +hmget +hset +hdel +pexpire +persist";
    let made = server.command("ACL SETUSER bus on >pw ~bus:* +ping").await;
    assert_eq!(made, "+OK");
    let error = begin(&store).await.unwrap_err();
    assert_eq!(
        kind(&error),
        RedisStoreErrorKind::Forbidden,
        "{}",
        words(&error)
    );
    assert!(error.to_string().contains(allow), "{error}");
    server.command(&format!("ACL SETUSER bus {allow}")).await;
    assert!(matches!(begin(&store).await, Ok(Begin::Fresh(_))));
}

#[tokio::test]
async fn a_replica_is_refused() {
    let primary = RedisServer::private().await;
    let (host, port) = primary.host().split_once(':').expect("a port");
    let replica = RedisServer::configured(&format!("replicaof {host} {port}")).await;
    let error = store_at(replica.url()).connect().await.unwrap_err();
    assert_eq!(
        error.kind(),
        RedisStoreErrorKind::ReadOnly,
        "{}",
        words(&error)
    );
    assert!(error.to_string().contains("primary"), "{error}");
}

/// After a fail-over the connection that is there leads to a replica.
#[tokio::test]
async fn a_primary_that_becomes_a_replica_is_refused_until_it_is_a_primary_again() {
    let server = RedisServer::private().await;
    let store = store_at(server.url());
    store.connect().await.unwrap();
    assert_eq!(server.command("REPLICAOF 127.0.0.1 1").await, "+OK");
    let error = begin(&store).await.unwrap_err();
    assert_eq!(
        kind(&error),
        RedisStoreErrorKind::ReadOnly,
        "{}",
        words(&error)
    );
    assert_eq!(server.command("REPLICAOF NO ONE").await, "+OK");
    assert!(matches!(begin(&store).await, Ok(Begin::Fresh(_))));
}

#[tokio::test]
async fn a_full_memory_is_an_error_that_says_so() {
    let server = RedisServer::configured("maxmemory 1").await;
    let error = begin(&store_at(server.url())).await.unwrap_err();
    assert_eq!(
        kind(&error),
        RedisStoreErrorKind::OutOfMemory,
        "{}",
        words(&error)
    );
    assert!(error.to_string().contains("maxmemory"), "{error}");
}

#[tokio::test]
async fn a_key_that_is_not_the_store_s_is_left_alone() {
    let prefix = RedisServer::prefix();
    let server = RedisServer::shared().await;
    let store = store_at(server.url()).prefix(&prefix);
    let key = format!("{prefix}orders/7");
    for command in [
        format!("SET {key} mine"),
        format!("HSET {key} name mine"),
        format!("HSET {key} until soon"),
    ] {
        server.command(&command).await;
        let before = server.command(&format!("DUMP {key}")).await;
        let error = begin(&store).await.unwrap_err();
        assert_eq!(
            kind(&error),
            RedisStoreErrorKind::ForeignKey,
            "{}",
            words(&error)
        );
        assert_eq!(server.command(&format!("DUMP {key}")).await, before);
        server.command(&format!("DEL {key}")).await;
    }
}

#[tokio::test]
async fn settings_that_forget_keys_are_warned_of() {
    let server = RedisServer::configured("maxmemory-policy allkeys-lru\nappendonly no").await;
    let (log, _here) = Log::of_this_thread(tracing::Level::INFO);
    store_at(RedisServer::shared().await.url())
        .connect()
        .await
        .unwrap();
    assert_eq!(log.text(), "", "nothing is wrong with that one");
    store_at(server.url()).connect().await.unwrap();
    let warnings = log.lines_with("WARN");
    assert!(
        warnings.iter().any(|line| line.contains("noeviction")),
        "{warnings:?}"
    );
    assert!(
        warnings.iter().any(|line| line.contains("appendonly")),
        "{warnings:?}"
    );
}

/// The clocks of instances may differ by minutes, as no instance sends its time: the server computes each end.
#[tokio::test]
async fn no_time_of_an_instance_is_ever_sent() {
    let server = RedisServer::private().await;
    let mut monitor = BufReader::new(TcpStream::connect(server.host()).await.unwrap());
    let password = server.url().split([':', '@']).nth(2).unwrap();
    let commands = format!("AUTH {password}\r\nMONITOR\r\n");
    monitor.write_all(commands.as_bytes()).await.unwrap();
    for _ in 0..2 {
        let mut line = String::new();
        monitor.read_line(&mut line).await.unwrap();
        assert_eq!(line, "+OK\r\n");
    }
    let store = store_at(server.url());
    let Begin::Fresh(token) = begin(&store).await.unwrap() else {
        panic!("the key is new");
    };
    assert!(store.extend(&token, LEASE).await.unwrap());
    assert!(store.complete(&token, Vec::new(), LEASE).await.unwrap());
    store.release(&token).await.unwrap();
    server.command("PING the-end").await;
    // `1700000000.123456 [0 127.0.0.1:4711] "EVALSHA" …`; what a script runs has `lua` for the client.
    let mut seen = Vec::new();
    loop {
        let mut line = String::new();
        within("a line", monitor.read_line(&mut line))
            .await
            .unwrap();
        let (client, command) = line.trim_end().split_once("] ").expect("a client");
        if command.contains("the-end") {
            break;
        }
        seen.push((client.ends_with(" lua"), command.to_owned()));
    }
    let calls = seen
        .iter()
        .filter(|(_, command)| command.starts_with("\"EVALSHA\""));
    assert!(calls.count() >= 4, "{seen:#?}");
    let arguments = |by_script| {
        let commands = seen.iter().filter(move |(script, _)| *script == by_script);
        commands.flat_map(|(_, command)| command.split(' ').map(|word| word.trim_matches('"')))
    };
    let times = |word: &&str| word.parse::<f64>().is_ok_and(|number| number > 1e9);
    assert_eq!(arguments(false).find(times), None, "{seen:#?}");
    assert!(arguments(true).any(|word| word == "TIME"), "{seen:#?}");
    assert!(
        arguments(true).find(times).is_some(),
        "the server writes the end: {seen:#?}"
    );
}
