//! Addresses of queues and exchanges, as text.
//!
//! Forms: `queue:orders`, `exchange:orders`, `rabbitmq://host/orders?bind=true`.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::message::MAX_NAME;
use crate::transport::Target;

/// Maximum length of an address that is read, in bytes.
///
/// Addresses arrive from untrusted senders.
const MAX_ADDRESS: usize = 2048;

const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b':')
    .remove(b'~');

/// Address of a queue or an exchange on the bus's own broker.
///
/// Host, virtual host and most options of a full address are ignored when it is read, so that an
/// address that came with a message can never lead to another broker or create anything.
///
/// ```
/// use bus_core::Address;
///
/// let address: Address = "queue:invoice-service".parse()?;
/// assert_eq!(address, Address::queue("invoice-service"));
/// assert_eq!(address.to_uri("rabbitmq://localhost/"), "rabbitmq://localhost/invoice-service?bind=true");
/// # Ok::<(), bus_core::transport::InvalidAddress>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    name: Cow<'static, str>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Queue,
    Exchange,
    /// The exchange and queue of a process, deleted with it.
    Temporary,
}

/// The address of a queue, as [`Address::queue`] gives it.
///
/// ```
/// use bus_core::{Address, queue};
///
/// assert_eq!(queue("invoice-service"), "queue:invoice-service".parse::<Address>()?);
/// # Ok::<_, bus_core::transport::InvalidAddress>(())
/// ```
pub fn queue(name: impl Into<Cow<'static, str>>) -> Address {
    Address::queue(name)
}

impl Address {
    /// Creates the address of a queue with its exchange.
    ///
    /// Sending to it creates both if they are missing. The name is not checked here.
    pub fn queue(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            kind: Kind::Queue,
        }
    }

    /// Creates the address of an exchange, which must exist.
    ///
    /// Sending to it never declares it. The name is not checked here.
    pub fn exchange(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            kind: Kind::Exchange,
        }
    }

    /// Creates the address of the queue of one process, such as its reply queue.
    ///
    /// Sending to it declares nothing: a queue that is gone is
    /// [`Unroutable`](super::TransportErrorKind::Unroutable). The name is not checked here.
    pub fn temporary(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            kind: Kind::Temporary,
        }
    }

    /// Returns the name of the queue or exchange, not percent-encoded.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the full address, as it travels in an envelope.
    ///
    /// `base` is the transport's base address, ending in `/`; the name is percent-encoded.
    pub fn to_uri(&self, base: &str) -> String {
        let mut uri = String::with_capacity(base.len() + self.name.len() + 16);
        uri.push_str(base);
        uri.extend(utf8_percent_encode(&self.name, ESCAPED));
        uri.push_str(match self.kind {
            Kind::Queue => "?bind=true",
            Kind::Exchange => "",
            Kind::Temporary => "?temporary=true",
        });
        uri
    }

    /// Returns the target of a send to an address that our own side chose.
    ///
    /// A missing queue is created.
    pub(crate) fn target(&self) -> Target {
        match self.kind {
            Kind::Queue => Target::Queue(self.name.clone()),
            Kind::Exchange => Target::Exchange {
                name: self.name.clone(),
                topology: None,
            },
            Kind::Temporary => Target::Inbox(self.name.clone()),
        }
    }

    /// Returns the target of a send to an address that came with a message.
    ///
    /// Nothing is ever created.
    pub(crate) fn reply_target(&self) -> Target {
        match self.kind {
            Kind::Exchange => Target::Exchange {
                name: self.name.clone(),
                topology: None,
            },
            Kind::Queue | Kind::Temporary => Target::Inbox(self.name.clone()),
        }
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = |reason| InvalidAddress {
            address: text.chars().take(100).collect(),
            reason,
        };
        if text.len() > MAX_ADDRESS {
            return Err(invalid("it is longer than 2048 bytes"));
        }
        let (scheme, rest) = text
            .split_once(':')
            .ok_or_else(|| invalid("it has no scheme"))?;
        let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
        let has = |option: &str| {
            options
                .split('&')
                .any(|given| given.eq_ignore_ascii_case(option))
        };
        let (kind, name) = match scheme {
            "queue" => (Kind::Queue, path),
            "exchange" | "topic" => (Kind::Exchange, path),
            _ => {
                let path = path
                    .strip_prefix("//")
                    .ok_or_else(|| invalid("a full address starts with scheme://host/"))?;
                let (_, name) = path
                    .rsplit_once('/')
                    .ok_or_else(|| invalid("it names no queue or exchange"))?;
                (
                    if has("bind=true") {
                        Kind::Queue
                    } else {
                        Kind::Exchange
                    },
                    name,
                )
            }
        };
        let kind = if has("temporary=true") {
            Kind::Temporary
        } else {
            kind
        };
        let name = percent_decode_str(name)
            .decode_utf8()
            .map_err(|_| invalid("its name is not UTF-8"))?;
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(invalid(
                "the name must have 1 to 255 bytes and no control characters",
            ));
        }
        Ok(Self {
            name: Cow::Owned(name.into_owned()),
            kind,
        })
    }
}

impl TryFrom<&str> for Address {
    type Error = InvalidAddress;

    fn try_from(text: &str) -> Result<Self, InvalidAddress> {
        text.parse()
    }
}

impl TryFrom<String> for Address {
    type Error = InvalidAddress;

    fn try_from(text: String) -> Result<Self, InvalidAddress> {
        text.parse()
    }
}

/// Reads an address in the form in which an envelope holds it.
impl TryFrom<Arc<str>> for Address {
    type Error = InvalidAddress;

    fn try_from(text: Arc<str>) -> Result<Self, InvalidAddress> {
        text.parse()
    }
}

impl From<std::convert::Infallible> for InvalidAddress {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// Writes the short form; read again, it is the same address.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, options) = match self.kind {
            Kind::Queue => ("queue:", ""),
            Kind::Exchange => ("exchange:", ""),
            Kind::Temporary => ("exchange:", "?temporary=true"),
        };
        f.write_str(scheme)?;
        for c in self.name.chars() {
            match c {
                '%' => f.write_str("%25")?,
                '?' => f.write_str("%3F")?,
                c => f.write_char(c)?,
            }
        }
        f.write_str(options)
    }
}

/// Error for an address that cannot be read; its text gives the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{address}` is not an address: {reason}; write queue:name, exchange:name or scheme://host/name"
)]
pub struct InvalidAddress {
    address: String,
    reason: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_addresses_lose_host_and_virtual_host() {
        for text in [
            "rabbitmq://elsewhere:5671/team%2Fa/orders?bind=true",
            "queue:orders",
            "loopback://localhost/orders?bind=true",
        ] {
            assert_eq!(text.parse(), Ok(Address::queue("orders")), "{text}");
        }
        assert_eq!(
            "rabbitmq://h/Acme.Orders:Submit".parse(),
            Ok(Address::exchange("Acme.Orders:Submit"))
        );
        assert_eq!(
            "rabbitmq://h/vm_bus_1?temporary=true".parse(),
            Ok(Address::temporary("vm_bus_1"))
        );
    }

    #[test]
    fn an_address_survives_the_wire() {
        for address in [
            Address::queue("größe x/y"),
            Address::exchange("A:B-C--D--"),
            Address::temporary("t"),
        ] {
            assert_eq!(address.to_uri("rabbitmq://h/v%2Fh/").parse(), Ok(address));
        }
    }

    #[test]
    fn an_address_is_read_as_it_is_printed() {
        for (address, printed) in [
            (Address::queue("a?b"), "queue:a%3Fb"),
            (Address::queue("a%2Fb"), "queue:a%252Fb"),
            (Address::exchange("größe x/y:z"), "exchange:größe x/y:z"),
            (
                Address::temporary("t?bind=true"),
                "exchange:t%3Fbind=true?temporary=true",
            ),
        ] {
            assert_eq!(address.to_string(), printed);
            assert_eq!(printed.parse(), Ok(address));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("queue:{}", "x".repeat(256));
        for text in [
            "",
            "orders",
            "queue:",
            "rabbitmq:orders",
            "rabbitmq://host",
            "rabbitmq://host/",
            "queue:a\nb",
            "queue:%ff",
            &long,
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_from_the_wire_creates_nothing() {
        assert_eq!(
            Address::queue("q").reply_target(),
            Target::Inbox("q".into())
        );
        assert_eq!(
            Address::exchange("x").reply_target(),
            Target::Exchange {
                name: "x".into(),
                topology: None
            }
        );
    }
}
