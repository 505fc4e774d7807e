//! One connection, from its handshake to its loss.

use std::sync::Arc;
use std::time::Duration;

use bus_core::transport::{TransportError, TransportErrorKind};
use lapin::{Channel, Connection};
use tokio::sync::watch;

use super::socket::SocketHandle;
use crate::convert::most_headers;
use crate::error::failed;

/// Time that a connection may take to close.
///
/// A connection that the broker blocks, or a broker that hangs, answers `connection.close` late or
/// never.
const CLOSE: Duration = Duration::from_secs(5);

/// Reply code of a `connection.close` without an error.
const REPLY_SUCCESS: u16 = 200;

/// One connection, from its handshake to its loss.
///
/// A user holds it for as long as what it made on it; a dropped connection would be closed below
/// its channels.
pub(crate) struct Live {
    connection: Connection,
    socket: Arc<SocketHandle>,
    /// Number of bytes for headers, from the negotiated `frame_max`.
    most_headers: usize,
    /// Reason for which the broker reads nothing from us at present.
    blocked: watch::Sender<Option<String>>,
    /// `true` from the loss on; never `false` again.
    lost: watch::Sender<bool>,
}

impl Live {
    /// Wraps a connection whose handshake is done.
    pub(super) fn new(connection: Connection, socket: Arc<SocketHandle>) -> Self {
        Self {
            most_headers: most_headers(connection.configuration().frame_max()),
            connection,
            socket,
            blocked: watch::Sender::new(None),
            lost: watch::Sender::new(false),
        }
    }

    /// Opens a channel.
    ///
    /// RabbitMQ numbers channels up to the negotiated `channel_max` (2047 by default); there is one
    /// for each publisher and endpoint, and some short-lived ones for declarations.
    pub(crate) async fn channel(&self) -> Result<Channel, TransportError> {
        let channel = self.connection.create_channel().await;
        channel.map_err(|error| failed("no channel can be opened", error))
    }

    /// Waits for an answer of the broker, or for the loss of the connection.
    ///
    /// The client may leave a question without an answer when the connection is lost, so every
    /// request to the broker is wrapped in this. An answer that is there counts even if the
    /// connection is lost.
    pub(crate) async fn ask<T>(
        &self,
        question: impl Future<Output = Result<T, TransportError>>,
    ) -> Result<T, TransportError> {
        tokio::select! {
            biased;
            answer = question => answer,
            () = self.lost() => Err(TransportError::new(
                TransportErrorKind::Unreachable,
                "the connection to RabbitMQ was lost",
            )),
        }
    }

    /// Follows whether the broker reads from us; the text is the reason if it does not.
    ///
    /// RabbitMQ announces an alarm of memory or disk space with `connection.blocked`, once the
    /// connection has tried to publish, and its end with `connection.unblocked`. An alarm on any
    /// node of a cluster blocks the publishers on all of them.
    pub(crate) fn blocked(&self) -> watch::Receiver<Option<String>> {
        self.blocked.subscribe()
    }

    /// Returns the reason for which the broker reads nothing from us now.
    ///
    /// `None` if it reads.
    pub(super) fn blocked_reason(&self) -> Option<String> {
        self.blocked.borrow().clone()
    }

    /// Notes that the broker stopped reading from us, or reads again.
    pub(super) fn set_blocked(&self, reason: Option<String>) {
        self.blocked.send_replace(reason);
    }

    /// Notes that the connection is gone, and makes the client release its socket.
    pub(super) fn end(&self) {
        self.socket.shut();
        self.lost.send_replace(true);
    }

    /// Returns `true` if the connection is known to be gone.
    pub(crate) fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Waits until the connection is gone.
    pub(crate) async fn lost(&self) {
        let mut lost = self.lost.subscribe();
        // The sender lives as long as `self`.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// Number of bytes that the headers of a message may take on this connection.
    pub(crate) fn most_headers(&self) -> usize {
        self.most_headers
    }

    /// Socket handle, which counts the foreign bytes that came on the connection.
    pub(crate) fn socket(&self) -> &SocketHandle {
        &self.socket
    }

    /// Closes the connection, and waits for the broker's answer for a limited time.
    ///
    /// A broker that reads or writes nothing may never answer; that holds up nothing else. RabbitMQ
    /// deletes the exclusive queues of the connection, and gives its unacknowledged deliveries
    /// back.
    pub(super) async fn close(&self) {
        let closing = self.connection.close(REPLY_SUCCESS, "shutdown".into());
        match tokio::time::timeout(CLOSE, closing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, "the connection was gone before it was closed");
            }
            Err(_) => tracing::debug!("the broker did not answer the end of the connection"),
        }
        self.end();
    }

    /// Asks the client, which knows of a loss before it reports it.
    pub(super) fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }
}
