//! Asks a broker if it is ready.

use std::time::Duration;

use lapin::{Connection, ConnectionProperties};
use tokio::time::{Instant, sleep, timeout};

/// How long a broker may take to start.
const START: Duration = Duration::from_secs(180);

/// Connects once. A broker that is not ready may take the connection and say nothing.
pub(crate) async fn probe(url: &str) -> Result<(), String> {
    let connecting = async {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        connection.close(200, "up".into()).await
    };
    match timeout(Duration::from_secs(3), connecting).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err("no answer within 3 s".to_owned()),
    }
}

/// Waits until a broker that starts takes connections; its last words if it never does.
pub(crate) async fn until_ready(url: &str) -> Result<(), String> {
    let deadline = Instant::now() + START;
    loop {
        match probe(url).await {
            Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(200)).await,
            outcome => return outcome,
        }
    }
}
