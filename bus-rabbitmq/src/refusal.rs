//! Which message made the broker close a channel.

use bus_core::transport::{TransportError, TransportErrorKind};
use lapin::Error;

use crate::error::{kind_of, reply_code, words};
use crate::job::Job;

/// A channel that the broker closed. It does not say because of which message, only of what kind.
pub(crate) struct Refusal {
    kind: TransportErrorKind,
    words: String,
}

impl Refusal {
    /// `None` where the broker refused nothing: the connection was lost.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        let kind = kind_of(error);
        (reply_code(error).is_some() && !kind.is_transient()).then(|| Self {
            kind,
            words: words(error),
        })
    }

    /// Whether the broker's words mean this message.
    pub(crate) fn is_about(&self, job: &Job) -> bool {
        if let Some(size) = self.too_large() {
            return size == job.outgoing.body.len();
        }
        // NOT_FOUND - no exchange 'orders' in vhost '/'; ACCESS_REFUSED - … exchange 'orders' in …
        let names = |exchange: &str| self.words.contains(&format!("exchange '{exchange}'"));
        match self.kind {
            // An exchange that we declare ourselves is declared again.
            TransportErrorKind::Unroutable => {
                let ours = matches!(
                    job.outgoing.target,
                    bus_core::transport::Target::Queue(_)
                        | bus_core::transport::Target::Exchange {
                            topology: Some(_),
                            ..
                        }
                );
                !ours && names(job.exchange())
            }
            TransportErrorKind::AccessRefused => names(job.exchange()),
            _ => false,
        }
    }

    /// `PRECONDITION_FAILED - message size 150 is larger than configured max size 100`; older ones leave `is` out.
    fn too_large(&self) -> Option<usize> {
        let (_, rest) = self.words.split_once("message size ")?;
        rest.split_whitespace().next()?.parse().ok()
    }

    pub(crate) fn error(&self, job: &Job) -> TransportError {
        let kind = match self.too_large() {
            Some(_) => TransportErrorKind::TooLarge,
            None if self.kind == TransportErrorKind::Mismatch => TransportErrorKind::Protocol,
            None => self.kind,
        };
        TransportError::new(
            kind,
            format!(
                "RabbitMQ refused the message to {}: {}",
                job.target(),
                self.words
            ),
        )
    }
}
