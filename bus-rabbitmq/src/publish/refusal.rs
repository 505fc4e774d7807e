//! The broker's reason for closing a channel, and the messages it applies to.
//!
//! | reply code | name | closes | fits a message by |
//! |---|---|---|---|
//! | 403 | `ACCESS_REFUSED` | channel | exchange, or exchange and routing key (topic permissions) |
//! | 404 | `NOT_FOUND` | channel | exchange |
//! | 406 | `PRECONDITION_FAILED` | channel | size of the body, or expiration |
//! | 501, 502 | `FRAME_ERROR`, `SYNTAX_ERROR` | connection | nothing |
//! | 540, 541 | `NOT_IMPLEMENTED`, `INTERNAL_ERROR` | connection | nothing |
//!
//! Other codes refuse no message: 320 is an operator or a shutdown, 504 and 505 a mistake of a
//! client.

use bus_core::transport::{TransportError, TransportErrorKind};
use lapin::protocol::{AMQPErrorKind, AMQPHardError};
use lapin::{Error, ErrorKind};

use super::pending::{PendingPublish, Scope};
use crate::error::{kind_of, words};

/// Words before the size of a message that is larger than `max_message_size`.
const SIZE: &str = "message size ";
/// Words of a refusal by a topic permission, which depends on the routing key.
const TOPIC: &str = "access to topic '";

/// The broker's reason for closing a channel because of one message.
///
/// It identifies no message, but most reasons name a property of it: its exchange, its size.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    kind: TransportErrorKind,
    words: String,
    scope: Scope,
}

impl Refusal {
    /// Reads a refusal from an error; `None` if the broker refused no message.
    ///
    /// In that case the connection was lost, or closed for another reason.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        let ErrorKind::ProtocolError(protocol) = error.kind() else {
            return None;
        };
        let (kind, scope) = match protocol.kind() {
            AMQPErrorKind::Soft(_) => (kind_of(error), Scope::Channel),
            // The frame of the headers, a value in it, or the broker's handling of it ends the
            // whole connection.
            AMQPErrorKind::Hard(
                AMQPHardError::FRAMEERROR
                | AMQPHardError::SYNTAXERROR
                | AMQPHardError::NOTIMPLEMENTED
                | AMQPHardError::INTERNALERROR,
            ) => (TransportErrorKind::Protocol, Scope::Connection),
            AMQPErrorKind::Hard(_) => return None,
        };
        (!kind.is_transient()).then(|| Self {
            kind,
            words: words(error),
            scope,
        })
    }

    /// Returns the part of the connection that was closed.
    pub(crate) fn scope(&self) -> Scope {
        self.scope
    }

    /// Returns `true` if an exchange does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        self.kind == TransportErrorKind::Unroutable
    }

    /// Returns `true` if it applies to every message to the exchange.
    pub(crate) fn is_of_exchange(&self) -> bool {
        self.kind == TransportErrorKind::AccessRefused && !self.words.contains(TOPIC)
    }

    /// Returns `true` if the same message would have been refused before as well.
    ///
    /// A missing exchange does not last in this sense: it may have existed a moment ago.
    pub(crate) fn is_lasting(&self) -> bool {
        !self.is_missing()
    }

    /// Returns `true` if the broker's words fit this message.
    pub(crate) fn fits(&self, pending: &PendingPublish) -> bool {
        let exchange = match pending.exchange() {
            "" => "amq.default",
            name => name,
        };
        let words = |text: String| self.words.contains(&text);
        match self.kind {
            TransportErrorKind::Mismatch => self.names_what_it_holds(pending),
            // ACCESS_REFUSED - access to topic 'a.b' in exchange 'orders' in vhost '/' refused for
            // user 'app'
            TransportErrorKind::AccessRefused if self.words.contains(TOPIC) => {
                let key = pending.routing_key();
                words(format!("{TOPIC}{key}' in exchange '{exchange}' in vhost '"))
            }
            // NOT_FOUND - no exchange 'orders' in vhost '/'
            TransportErrorKind::AccessRefused | TransportErrorKind::Unroutable => {
                words(format!("exchange '{exchange}' in vhost '"))
            }
            _ => false,
        }
    }

    /// Returns `true` if the words name the size or the expiration of this message.
    ///
    /// `PRECONDITION_FAILED - message size 150 is larger than configured max size 100`; older
    /// brokers leave `is` out.
    fn names_what_it_holds(&self, pending: &PendingPublish) -> bool {
        if let Some(size) = self.between(SIZE, " ") {
            return size.parse() == Ok(pending.outgoing.body.len());
        }
        self.between("invalid expiration '", "'")
            .is_some_and(|expiration| pending.expiration().as_deref() == Some(expiration))
    }

    /// Text between two others in the broker's words.
    fn between(&self, start: &str, end: &str) -> Option<&str> {
        let (_, rest) = self.words.split_once(start)?;
        Some(rest.split_once(end)?.0)
    }

    /// Makes the error for the sender of the refused message.
    ///
    /// A lasting reason is reported as it is. For a missing exchange, an earlier write of the
    /// message may have arrived.
    pub(crate) fn error(&self, pending: &PendingPublish) -> TransportError {
        let kind = match self.kind {
            TransportErrorKind::Mismatch if self.words.contains(SIZE) => {
                TransportErrorKind::TooLarge
            }
            TransportErrorKind::Mismatch => TransportErrorKind::Protocol,
            kind => kind,
        };
        let text = format!(
            "RabbitMQ refused the message to {}: {}",
            pending.target(),
            self.words
        );
        if self.is_lasting() {
            TransportError::new(kind, text)
        } else {
            pending.refused(kind, text)
        }
    }
}
