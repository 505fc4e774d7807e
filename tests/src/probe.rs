//! Asks a broker if it is ready.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::raw_amqp::RawAmqp;

/// How long a broker may take to start.
const START: Duration = Duration::from_secs(180);

/// Connects once to `host:port`. A broker that is not ready may take the connection and say nothing.
///
/// Not with the client library: each of its attempts that is refused leaves tasks behind, for as long as the process lives.
pub(crate) async fn probe(host: &str) -> Result<(), String> {
    match timeout(Duration::from_secs(3), RawAmqp::try_connect(host, "/")).await {
        Ok(outcome) => outcome.map(drop).map_err(|error| error.to_string()),
        Err(_) => Err("no answer within 3 s".to_owned()),
    }
}

/// Waits until a broker that starts takes connections; its last words if it never does.
pub(crate) async fn until_ready(host: &str) -> Result<(), String> {
    let deadline = Instant::now() + START;
    loop {
        match probe(host).await {
            Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(200)).await,
            outcome => return outcome,
        }
    }
}
