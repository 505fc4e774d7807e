//! One attempt to connect, which leaves nothing behind when it fails.
//!
//! The client starts a thread and several tasks before the handshake, and ends them only for a
//! connection that came to be. So the socket is opened outside of it, and all that it starts runs
//! on a [`ClientRuntime`] of its own:
//!
//! ```text
//!  lookup ─► TCP ─► TLS ─► [ client: AMQP header ─► start-ok ─► tune-ok ─► open-ok ]
//!  └────── dial ────────┘    └── a failure in here: shut the socket, end the tasks ──┘
//! ```

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bus_core::transport::{TransportError, TransportErrorKind};
use futures_util::{Stream, StreamExt};
use lapin::tcp::AsyncTcpStream;
use lapin::{Connection, ConnectionProperties, ErrorKind, Event};

use super::client_runtime::{ClientRuntime, Wire};
use super::socket::{Socket, SocketHandle};
use crate::config::{Config, Host};
use crate::error::{kind_of, words};

/// Events of a connection, for its one listener.
///
/// The client gives each event to one of its listeners only, though it has a call for more.
pub(crate) type Events = Pin<Box<dyn Stream<Item = Event> + Send>>;

/// Connection whose handshake is done.
pub(crate) struct Connected {
    pub(crate) connection: Connection,
    pub(crate) events: Events,
    pub(crate) socket: Arc<SocketHandle>,
}

/// Connects to one host within the configured time.
///
/// The error names host, virtual host and user, and no password. Its kind says whether another
/// attempt can help: `Unreachable` for what may pass, `AccessRefused` for a refused login, virtual
/// host or certificate, `Protocol` for a peer that is no broker.
pub(crate) async fn connect(
    config: &Config,
    host: &Host,
    role: &str,
) -> Result<Connected, TransportError> {
    let what = || {
        format!(
            "RabbitMQ at {host}, virtual host `{}`, user `{}`",
            config.vhost, config.user
        )
    };
    match tokio::time::timeout(config.connect_timeout, attempt(config, host, role)).await {
        Ok(Ok(connected)) => Ok(connected),
        Ok(Err(Failure { kind, text, source })) => {
            let error = TransportError::new(kind, format!("{}: {text}", what()));
            Err(match source {
                Some(source) => error.with_source(source),
                None => error,
            })
        }
        Err(_) => Err(TransportError::new(
            TransportErrorKind::Unreachable,
            format!("{}: no answer within {:?}", what(), config.connect_timeout),
        )),
    }
}

/// Failed attempt, before host, virtual host and user are named.
struct Failure {
    kind: TransportErrorKind,
    text: String,
    source: Option<lapin::Error>,
}

impl From<lapin::Error> for Failure {
    fn from(error: lapin::Error) -> Self {
        let text = match error.kind() {
            ErrorKind::ParsingError(_) => {
                "what listens there speaks no AMQP; is it the port of something else, or one for amqps:// addresses?"
                    .to_owned()
            }
            _ => words(&error),
        };
        Self {
            kind: kind_of(&error),
            text,
            source: Some(error),
        }
    }
}

/// Opens the socket and runs the handshake on it.
///
/// RabbitMQ answers a wrong password with `connection.close` 403 only to clients that announce the
/// capability `authentication_failure_close`, which the client does; to others it closes the
/// socket.
async fn attempt(config: &Config, host: &Host, role: &str) -> Result<Connected, Failure> {
    let wire = dial(config, host).await?;
    let (socket, handle) = Socket::new(wire);
    let runtime = ClientRuntime::current();
    let cleanup = Cleanup {
        socket: Arc::clone(&handle),
        runtime: runtime.clone(),
        is_needed: true,
    };
    let properties = ConnectionProperties::default()
        .with_connection_name(format!("{} {role}", config.name).into())
        .with_client_property("product".into(), "bus-rabbitmq".into())
        .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into());
    let socket = Mutex::new(Some(socket));
    // The client asks for a second socket only to recover, which is switched off.
    let take = async move |_, _| {
        let socket = socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        let socket = socket.ok_or(std::io::ErrorKind::ConnectionAborted);
        Ok(AsyncTcpStream::Plain(socket.map_err(std::io::Error::from)?))
    };
    let connection =
        Connection::connector(config.uri(host), runtime.into(), take, properties).await?;
    // One listener only: each event goes to one of them.
    let events = connection.events_listener().boxed();
    cleanup.cancel();
    Ok(Connected {
        connection,
        events,
        socket: handle,
    })
}

/// Opens the socket outside of the client, encrypted where the address says so.
///
/// The client would leave tasks behind for each socket that is refused. All addresses of the name
/// are tried in turn.
async fn dial(config: &Config, host: &Host) -> Result<Wire, Failure> {
    let failed = |error: std::io::Error| Failure::from(lapin::Error::from(error));
    let addresses = tokio::net::lookup_host((host.name.as_str(), host.port)).await;
    let addresses: Vec<_> = addresses.map_err(failed)?.collect();
    let wire = Wire::connect(&async_rs::Tokio::current(), addresses).await;
    let wire = wire.map_err(failed)?;
    if !config.encrypted {
        return Ok(wire);
    }
    let tls = config.tls_config().map_err(|reason| Failure {
        kind: TransportErrorKind::AccessRefused,
        text: reason,
        source: None,
    })?;
    let encrypted = wire.into_tls(&host.name, tls.as_ref()).await;
    encrypted.map_err(|error| {
        if !is_plain(&error) {
            return failed(error);
        }
        Failure {
            kind: TransportErrorKind::Protocol,
            text: format!(
                "what listens there speaks no TLS ({error}); is it the port for amqp:// addresses?"
            ),
            source: None,
        }
    })
}

/// Returns `true` if the peer answered a TLS handshake with something else.
///
/// The TLS library has no kind for that, so its words are read.
fn is_plain(error: &std::io::Error) -> bool {
    error.to_string().contains("InvalidContentType")
}

/// Ends what the client has begun for an attempt that fails, or is dropped.
///
/// An attempt is dropped when its time is up, or when its link is closed.
struct Cleanup {
    socket: Arc<SocketHandle>,
    runtime: ClientRuntime,
    is_needed: bool,
}

impl Cleanup {
    /// Leaves everything as it is, since the attempt succeeded.
    fn cancel(mut self) {
        self.is_needed = false;
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        if self.is_needed {
            self.socket.shut();
            self.runtime.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::runtime::Handle;
    use tokio::task::JoinSet;

    use super::*;

    /// A time that no attempt of these tests takes.
    const LONG: Duration = Duration::from_secs(20);

    fn config(port: u16, connect_timeout: Duration) -> Config {
        let mut config = Config::new(&format!("amqp://127.0.0.1:{port}"));
        config.connect_timeout = connect_timeout;
        config
    }

    async fn error(config: &Config) -> TransportError {
        match connect(config, &config.hosts[0], "test").await {
            Ok(_) => panic!("connected to what is no broker"),
            Err(error) => error,
        }
    }

    /// Counts the threads of the client; no other test of this crate has any.
    fn client_threads() -> usize {
        let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        threads
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok())
            .filter(|name| name.trim() == "lapin-io-loop")
            .count()
    }

    async fn eventually(what: &str, holds: impl Fn() -> bool) {
        let waiting = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        assert!(waited.is_ok(), "not within 20 s: {what}");
    }

    /// Runs the attempts one after the other, as they look at the same threads.
    #[tokio::test]
    async fn an_attempt_that_fails_leaves_nothing_behind() {
        let tasks = || Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        refused(10_000).await;
        eventually("refused attempts leave no task", || tasks() == before).await;
        assert_eq!(client_threads(), 0, "nothing to talk to, so no thread");
        for peer in [Peer::Silent, Peer::Gone, Peer::Foreign] {
            answered_by(peer, 100).await;
            eventually("attempts leave no task", || tasks() == before).await;
            eventually("attempts leave no thread", || client_threads() == 0).await;
        }
    }

    #[tokio::test]
    async fn a_peer_that_speaks_no_tls_is_named_as_such() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut config = Config::new(&format!("amqps://127.0.0.1:{port}"));
        config.connect_timeout = LONG;
        let peer = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.write_all(b"AMQP\x00\x00\x09\x01").await.unwrap();
            while matches!(socket.read(&mut [0; 64]).await, Ok(1..)) {}
        };
        let error = tokio::join!(error(&config), peer).0;
        assert_eq!(error.kind(), TransportErrorKind::Protocol);
        assert!(error.to_string().contains("speaks no TLS"), "{error}");
    }

    async fn refused(attempts: usize) {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = config(free.local_addr().unwrap().port(), LONG);
        drop(free);
        for _ in 0..attempts {
            assert!(error(&config).await.kind().is_transient());
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Peer {
        Silent,
        Gone,
        Foreign,
    }

    async fn answered_by(peer: Peer, attempts: usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Only the silent peer is waited for in vain; the others answer, however late.
        let connect_timeout = match peer {
            Peer::Silent => Duration::from_millis(20),
            Peer::Gone | Peer::Foreign => LONG,
        };
        let config = config(listener.local_addr().unwrap().port(), connect_timeout);
        let mut accepted = JoinSet::new();
        for _ in 0..attempts {
            let accept = async {
                let (mut socket, _) = listener.accept().await.unwrap();
                accepted.spawn(async move {
                    match peer {
                        Peer::Gone => return,
                        Peer::Silent => {}
                        Peer::Foreign => drop(socket.write_all(b"HTTP/1.1 400 No\r\n\r\n").await),
                    }
                    // Until it is closed; a reset does as well.
                    while matches!(socket.read(&mut [0; 64]).await, Ok(1..)) {}
                });
            };
            let error = tokio::join!(error(&config), accept).0;
            let said = match peer {
                Peer::Silent => "no answer within 20ms",
                Peer::Gone => "127.0.0.1",
                Peer::Foreign => "speaks no AMQP",
            };
            assert!(error.to_string().contains(said), "{peer:?}: {error}");
        }
        let closed = async { while accepted.join_next().await.is_some() {} };
        let closed = tokio::time::timeout(Duration::from_secs(20), closed).await;
        assert!(closed.is_ok(), "{peer:?}: sockets are left open");
    }
}
