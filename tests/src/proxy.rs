//! A wire between a bus and its broker, or its database, that a test can cut.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Forwards TCP connections to a broker or a database, as a test says.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

/// Where a connection is cut that carries a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Before the text of the client reaches the server.
    BeforeRequest,
    /// Once the server has answered with the text too, before the client hears of it.
    BeforeAnswer,
}

/// A text at which one connection is cut.
#[derive(Clone, Copy, Debug)]
struct Trap {
    text: &'static [u8],
    cut: Cut,
}

#[derive(Debug)]
struct State {
    target: String,
    /// Connections of an older generation than this one are cut.
    generation: watch::Sender<u64>,
    refusing: AtomicBool,
    silent: watch::Sender<bool>,
    deaf: watch::Sender<bool>,
    trap: Mutex<Option<Trap>>,
    cut: AtomicUsize,
    accepted: AtomicUsize,
    refused: AtomicUsize,
    attempts: AtomicUsize,
}

impl Proxy {
    /// A wire to `target`, written `host:port`.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(target: impl Into<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State {
            target: target.into(),
            generation: watch::Sender::new(0),
            refusing: AtomicBool::new(false),
            silent: watch::Sender::new(false),
            deaf: watch::Sender::new(false),
            trap: Mutex::default(),
            cut: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            attempts: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self {
            address,
            state,
            accepting,
        }
    }

    /// Its address for a client.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@{}", self.address)
    }

    /// Its host and port.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Cuts every connection that is open now. How many were cut in all is [`cuts`](Self::cuts).
    pub fn cut(&self) {
        self.state
            .generation
            .send_modify(|generation| *generation += 1);
    }

    /// Cuts the first connection whose client writes a text from now on.
    pub fn cut_at(&self, text: &'static [u8], cut: Cut) {
        *self.state.trap() = Some(Trap { text, cut });
    }

    /// Refuses new connections, or takes them again.
    pub fn refuse(&self, refuse: bool) {
        self.state.refusing.store(refuse, Ordering::SeqCst);
    }

    /// Passes nothing on in either direction, without closing anything; or goes on.
    pub fn freeze(&self, freeze: bool) {
        self.state.silent.send_replace(freeze);
        self.state.deaf.send_replace(freeze);
    }

    /// Passes nothing on from the broker, so that confirms are lost; or goes on.
    pub fn drop_answers(&self, drop: bool) {
        self.state.deaf.send_replace(drop);
    }

    /// How many connections were cut.
    pub fn cuts(&self) -> usize {
        self.state.cut.load(Ordering::SeqCst)
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// How many connections were refused.
    pub fn refusals(&self) -> usize {
        self.state.refused.load(Ordering::SeqCst)
    }

    /// How many connections were asked for, with and without a server behind.
    pub fn attempts(&self) -> usize {
        self.state.attempts.load(Ordering::SeqCst)
    }
}

impl State {
    fn trap(&self) -> MutexGuard<'_, Option<Trap>> {
        self.trap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The trap, if it is set at what a client writes. It is not set any more then.
    fn spring(&self, bytes: &[u8]) -> Option<Trap> {
        self.trap().take_if(|trap| holds(bytes, trap.text))
    }
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        state.attempts.fetch_add(1, Ordering::SeqCst);
        if state.refusing.load(Ordering::SeqCst) {
            state.refused.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        tokio::spawn(forward(client, Arc::clone(&state)));
    }
}

async fn forward(client: TcpStream, state: Arc<State>) {
    let Ok(broker) = TcpStream::connect(&state.target).await else {
        return;
    };
    state.accepted.fetch_add(1, Ordering::SeqCst);
    let _ = (client.set_nodelay(true), broker.set_nodelay(true));
    let mut generation = state.generation.subscribe();
    let mine = *generation.borrow_and_update();
    let (client_read, client_write) = client.into_split();
    let (broker_read, broker_write) = broker.into_split();
    let sprung = Mutex::new(None);
    // Counted before the connection closes: its client may look at once.
    let count = || {
        state.cut.fetch_add(1, Ordering::SeqCst);
    };
    let requests = |bytes: &[u8]| {
        let Some(trap) = state.spring(bytes) else {
            return true;
        };
        *sprung.lock().unwrap_or_else(PoisonError::into_inner) = Some(trap);
        if trap.cut == Cut::BeforeRequest {
            count();
        }
        trap.cut == Cut::BeforeAnswer
    };
    let answers = |bytes: &[u8]| {
        let sprung = *sprung.lock().unwrap_or_else(PoisonError::into_inner);
        let is_cut = sprung.is_some_and(|trap: Trap| holds(bytes, trap.text));
        if is_cut {
            count();
        }
        !is_cut
    };
    tokio::select! {
        () = copy(client_read, broker_write, state.silent.subscribe(), requests) => {}
        () = copy(broker_read, client_write, state.deaf.subscribe(), answers) => {}
        _ = generation.wait_for(|now| *now > mine) => count(),
    }
}

/// Passes on what comes, up to what `passes` refuses.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut stopped: watch::Receiver<bool>,
    passes: impl Fn(&[u8]) -> bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if stopped.wait_for(|stopped| !*stopped).await.is_err() {
            return;
        }
        if !passes(&buffer[..count]) {
            return;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
