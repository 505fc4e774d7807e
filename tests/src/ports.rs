//! Ports for what a test starts.

use std::net::TcpListener;

use uuid::Uuid;

/// Below the ports that systems give to connections they make: one of those could take a port before its server does,
/// and a client that dials a closed one could meet itself.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// Free now; held all at once, so that they differ.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| listener());
    listeners.map(|listener| listener.local_addr().expect("bound").port())
}

fn listener() -> TcpListener {
    let tries = std::iter::repeat_with(|| FIRST + Uuid::new_v4().as_fields().1 % COUNT);
    tries
        .take(100)
        .find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .expect("a free port")
}
