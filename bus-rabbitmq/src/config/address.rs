//! Address of the broker, cut into its parts.
//!
//! ```text
//!  amqps://user:password@rabbit-1,rabbit-2:5673/vhost?heartbeat=10
//!  scheme  login         hosts                  vhost options
//! ```
//!
//! The parts are cut by hand, as the errors of a URL parser repeat their input, password included;
//! nor does a URL have several hosts.

use std::fmt;

use percent_encoding::percent_decode_str;

/// One broker node.
///
/// Displayed as `name:port`, an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An IPv6 address stands in brackets.
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

impl Host {
    /// Reads `name`, `name:port` or `[v6]:port`, with blanks around it.
    ///
    /// An error names the host only where no login can be in it.
    pub(crate) fn read(text: &str, encrypted: bool) -> Result<Self, String> {
        let text = text.trim();
        let default = default_port(encrypted);
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (name, port) = rest
                    .split_once(']')
                    .ok_or("the bracket of the host is not closed")?;
                let port = match port {
                    "" => None,
                    port => Some(port.strip_prefix(':').ok_or(
                        "behind the bracket of the host stands something else than a port",
                    )?),
                };
                (name, port)
            }
            None => match text.split_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (text, None),
            },
        };
        if name.is_empty() {
            return Err("it names no host, or its list of hosts has a comma too many".to_owned());
        }
        if name.contains(char::is_whitespace) {
            return Err("the name of a host has a blank within".to_owned());
        }
        let port = match port {
            None => default,
            Some(port) => port
                .parse()
                .map_err(|_| format!("the port of host `{name}` is not a number below 65536"))?,
        };
        Ok(Self {
            name: name.to_owned(),
            port,
        })
    }
}

/// Port of a broker whose address names none.
pub(super) fn default_port(encrypted: bool) -> u16 {
    if encrypted { 5671 } else { 5672 }
}

/// Parts of an address, as they stand in it.
pub(super) struct Parts<'a> {
    pub(super) encrypted: bool,
    pub(super) login: Option<&'a str>,
    pub(super) hosts: &'a str,
    pub(super) vhost: &'a str,
    pub(super) options: &'a str,
}

/// Cuts an address into its parts.
///
/// An error repeats none of it: any part may hold the password if another one is mistaken.
pub(super) fn parts(address: &str) -> Result<Parts<'_>, &'static str> {
    let (scheme, rest) = address.trim().split_once("://").ok_or("it has no scheme")?;
    let encrypted = match scheme.to_ascii_lowercase().as_str() {
        "amqp" | "rabbitmq" => false,
        "amqps" | "rabbitmqs" => true,
        _ => return Err("its scheme is not amqp or amqps"),
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let rest = &rest[authority.len()..];
    if rest.contains('@') {
        return Err(
            "there is an `@` behind the first `/` or `?`; percent-encode the password, the user name and \
             the virtual host (`/` is %2F, `?` is %3F, `@` is %40)",
        );
    }
    let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
    let vhost = path.strip_prefix('/').unwrap_or_default();
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (Some(login), hosts),
        None => (None, authority),
    };
    Ok(Parts {
        encrypted,
        login,
        hosts,
        // Addresses that travel end in `/`, our own among them.
        vhost: vhost.strip_suffix('/').unwrap_or(vhost),
        options,
    })
}

/// Decodes percent-encoding.
///
/// `what` names the part in the error, which does not repeat it.
pub(super) fn decoded(text: &str, what: &str) -> Result<String, String> {
    percent_decode_str(text)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| format!("{what} is not UTF-8"))
}
