//! Whom a bus trusts, and as whom it appears, with a broker that speaks TLS; and whom a store trusts.

use std::path::{Path, PathBuf};

use bus_core::transport::TransportErrorKind;
use bus_core::{Bus, StartError};
use bus_rabbitmq::{RabbitMq, Tls};
use bus_redis::RedisIdempotencyStore;
use bus_tests::contracts::Ordered;
use bus_tests::{Broker, RedisServer, Setup, within};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// A certificate authority and what it has signed, as PEM files of one folder.
struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("a folder for certificates");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, folder.to_string_lossy().as_ref());
        let certificate = params.self_signed(&key).expect("a certificate");
        let authority = Self {
            folder: folder.to_owned(),
            issuer: Issuer::new(params, key),
        };
        authority.write("ca.pem", &certificate.pem());
        authority
    }

    /// Signs a certificate for a host or user: `<name>.pem` and `<name>.key`.
    fn sign(&self, name: &str) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a certificate file");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn refused(transport: RabbitMq) -> String {
    let starting = Bus::builder(transport).start();
    match within("the refusal", starting).await {
        Err(StartError::Connect(error)) => {
            assert_eq!(error.kind(), TransportErrorKind::AccessRefused, "{error}");
            error.to_string()
        }
        other => panic!("{other:?}"),
    }
}

async fn works(transport: RabbitMq) {
    let starting = Bus::builder(transport).start();
    let bus = within("the start", starting).await.expect("it is let in");
    bus.publish(&Ordered { number: 1 }).await.expect("sent");
    bus.shutdown().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_trusted_broker_is_talked_to_and_only_a_known_client_is_let_in() {
    let folder = std::env::temp_dir().join(format!("bus-tls-{}", std::process::id()));
    let _cleared = Folder(folder.clone());
    let ours = Authority::new(&folder.join("ours"));
    let theirs = Authority::new(&folder.join("theirs"));
    ours.sign("localhost");
    ours.sign("bus-client");
    theirs.sign("bus-client");
    let port = Broker::free_port();
    let files = ["ca.pem", "localhost.pem", "localhost.key"].map(|name| ours.path(name));
    let [ca, certificate, key] = files.each_ref().map(|path| path.display());
    let config = format!(
        "listeners.ssl.default = {{loopback}}{port}\n\
         ssl_options.cacertfile = {ca}\n\
         ssl_options.certfile = {certificate}\n\
         ssl_options.keyfile = {key}\n\
         ssl_options.verify = verify_peer\n\
         ssl_options.fail_if_no_peer_cert = false\n\
         ssl_cert_login_from = common_name\n\
         auth_mechanisms.1 = PLAIN\n\
         auth_mechanisms.2 = EXTERNAL\n",
    );
    let broker = Broker::configured(&Setup {
        config,
        plugins: vec!["rabbitmq_auth_mechanism_ssl".to_owned()],
        ports: vec![port],
        files: files.to_vec(),
    })
    .await;
    broker.control(&["add_user", "bus-client", "unused"]).await;
    broker
        .control(&["set_permissions", "bus-client", ".*", ".*", ".*"])
        .await;
    let at = |host: &str| RabbitMq::new(format!("amqps://guest:guest@{host}:{port}"));
    let trusting = || Tls::new().ca_file(ours.path("ca.pem"));

    works(at("localhost").tls(trusting())).await;

    let unknown = refused(at("localhost")).await;
    assert!(unknown.contains("certificate"), "{unknown}");
    let other = Tls::new().ca_file(theirs.path("ca.pem"));
    let untrusted = refused(at("localhost").tls(other)).await;
    assert!(untrusted.contains("certificate"), "{untrusted}");
    let wrong_name = refused(at("127.0.0.1").tls(trusting())).await;
    assert!(wrong_name.contains("certificate"), "{wrong_name}");

    let certificate = |authority: &Authority| {
        trusting()
            .client_certificate(
                authority.path("bus-client.pem"),
                authority.path("bus-client.key"),
            )
            .external()
    };
    let external = |tls: Tls| at("localhost").credentials("", "").tls(tls);
    works(external(certificate(&ours))).await;
    let starting = Bus::builder(external(certificate(&theirs)))
        .start_timeout(std::time::Duration::from_secs(3))
        .start();
    let forged = within("the refusal", starting).await;
    assert!(
        forged.is_err(),
        "a certificate that the broker does not know"
    );
}

#[tokio::test]
async fn a_missing_file_is_reported_before_anything_is_connected() {
    let tls = Tls::new().ca_file("/does/not/exist.pem").external();
    let transport = RabbitMq::new("amqps://localhost:1").tls(tls);
    let error = Bus::builder(transport).start().await.unwrap_err();
    let StartError::Configuration(mistakes) = &error else {
        panic!("{error}");
    };
    let mistakes: Vec<_> = mistakes.iter().collect();
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    assert!(mistakes[0].contains("/does/not/exist.pem"), "{mistakes:?}");
}

#[tokio::test]
async fn a_store_talks_only_to_a_redis_that_it_trusts() {
    let folder = std::env::temp_dir().join(format!("bus-store-tls-{}", std::process::id()));
    let _cleared = Folder(folder.clone());
    let ours = Authority::new(&folder.join("ours"));
    let theirs = Authority::new(&folder.join("theirs"));
    ours.sign("localhost");
    let port = Broker::free_port();
    let files = ["ca.pem", "localhost.pem", "localhost.key"].map(|name| ours.path(name));
    let [ca, certificate, key] = files.each_ref().map(|path| path.display());
    let settings = format!(
        "tls-port {port}\ntls-ca-cert-file {ca}\ntls-cert-file {certificate}\ntls-key-file {key}\n\
         tls-auth-clients no",
    );
    let server = RedisServer::configured(&settings).await;
    let store = |host: &str, authority: &Authority| {
        let address = server.url().replace("redis://", "rediss://");
        let address = address.replace(server.host(), &format!("{host}:{port}"));
        let store = RedisIdempotencyStore::new(&address).expect("an address");
        store.ca_file(authority.path("ca.pem")).expect("a file")
    };
    store("localhost", &ours).connect().await.expect("trusted");
    for untrusted in [store("localhost", &theirs), store("127.0.0.1", &ours)] {
        let error = untrusted.connect().await.expect_err("not trusted");
        let source = std::error::Error::source(&error).expect("the client's words");
        assert!(source.to_string().contains("certificate"), "{source}");
    }
    let plain = RedisIdempotencyStore::new(server.url()).expect("an address");
    plain.ca_file(ours.path("ca.pem")).expect_err("no TLS");
    let store = RedisIdempotencyStore::new("rediss://localhost").expect("an address");
    let missing = store.ca_file(ours.path("none.pem")).expect_err("no file");
    let source = std::error::Error::source(&missing).expect("what is missing");
    assert!(source.to_string().contains("none.pem"), "{source}");
}
