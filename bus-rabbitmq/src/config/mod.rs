//! Settings of the connections to the broker.
//!
//! Setters never fail: what they cannot use is kept as a mistake, and
//! [`BusBuilder::start`](bus_core::BusBuilder::start) reports all mistakes of a bus at once.
//!
//! # Invariants
//!
//! - A password is in no text that is logged, shown or sent: not in `Debug`, not in an error, not
//!   in the address that travels with messages.

mod address;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bus_core::transport::Backoff;
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::{
    AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::tls::Tls;
use address::{Parts, decoded, default_port, parts};

pub(crate) use address::Host;

/// Characters of a virtual host that are percent-encoded.
///
/// All but letters, digits, `-`, `_`, `.` and `~` (the unreserved ones of RFC 3986).
const VHOST_ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Beginning of the names of the exchanges and queues of delayed messages.
///
/// The number is raised with any change of their arguments, as a queue that exists keeps its own.
const DELAY_PREFIX: &str = "bus.delay.v1";

/// Number of bytes that leave room for the ends of the names in 255.
const LONGEST_PREFIX: usize = 200;

/// Settings of the connections; their `Debug` form holds no secret.
#[derive(Clone)]
pub(crate) struct Config {
    /// Nodes of the cluster, tried in turn; the first names the cluster in addresses.
    pub(crate) hosts: Vec<Host>,
    pub(crate) vhost: String,
    pub(crate) user: String,
    password: Secret,
    /// `true` for `amqps://`.
    pub(crate) encrypted: bool,
    pub(crate) tls: Tls,
    pub(crate) name: String,
    pub(crate) heartbeat: Duration,
    pub(crate) connect_timeout: Duration,
    /// Most messages without a confirm, for each of the two publishers.
    pub(crate) confirm_window: usize,
    /// First and longest wait between attempts to connect.
    pub(crate) reconnect: (Duration, Duration),
    /// Interval at which an endpoint declares its exchanges and bindings again.
    pub(crate) rebind: Duration,
    /// Beginning of the names of the queues in which delayed messages wait.
    pub(crate) delay_prefix: String,
    pub(crate) mistakes: Vec<String>,
}

/// Text that is never printed.
#[derive(Clone)]
struct Secret(Arc<str>);

impl Config {
    /// Reads an address; its errors are kept for [`mistakes`](Self::mistakes).
    pub(crate) fn new(address: &str) -> Self {
        let mut config = Self {
            hosts: Vec::new(),
            vhost: "/".to_owned(),
            user: "guest".to_owned(),
            password: Secret("guest".into()),
            encrypted: false,
            tls: Tls::new(),
            name: program_name(),
            heartbeat: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(10),
            confirm_window: 1000,
            reconnect: (Duration::from_millis(200), Duration::from_secs(2)),
            rebind: Duration::from_secs(5),
            delay_prefix: DELAY_PREFIX.to_owned(),
            mistakes: Vec::new(),
        };
        if let Err(reason) = config.read(address) {
            config.mistakes.push(format!(
                "the RabbitMQ address cannot be used: {reason}; write amqp://user:password@host:5672/vhost"
            ));
        }
        config
    }

    // The parts are cut by hand, as the errors of a URL parser repeat their input, password
    // included.
    /// Reads an address; parts that are not in it keep their defaults.
    fn read(&mut self, address: &str) -> Result<(), String> {
        let Parts {
            encrypted,
            login,
            hosts,
            vhost,
            options,
        } = parts(address)?;
        self.encrypted = encrypted;
        if let Some(login) = login {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            self.user = decoded(user, "the user name")?;
            self.password = Secret(decoded(password, "the password")?.into());
        }
        for host in hosts.split(',') {
            let host = Host::read(host, self.encrypted)?;
            self.hosts.push(host);
        }
        if !vhost.is_empty() {
            self.vhost = decoded(vhost, "the virtual host")?;
        }
        for (name, value) in options
            .split('&')
            .filter_map(|option| option.split_once('='))
        {
            if name == "heartbeat" {
                let seconds = value
                    .parse()
                    .map_err(|_| "heartbeat is not a number of seconds")?;
                self.heartbeat = Duration::from_secs(seconds);
            }
        }
        Ok(())
    }

    pub(crate) fn set_credentials(&mut self, user: String, password: &str) {
        self.user = user;
        self.password = Secret(password.into());
    }

    /// Formats `rabbitmq://host/vhost/`, without credentials.
    ///
    /// The default port and virtual host are left out. It is the address that travels with
    /// messages, in MassTransit's form; reading it gives the same host and virtual host again.
    pub(crate) fn base_address(&self) -> String {
        let scheme = if self.encrypted {
            "rabbitmqs"
        } else {
            "rabbitmq"
        };
        let default = default_port(self.encrypted);
        let host = match self.hosts.first() {
            Some(host) if host.port == default => host
                .to_string()
                .trim_end_matches(&format!(":{default}"))
                .to_owned(),
            Some(host) => host.to_string(),
            None => "localhost".to_owned(),
        };
        if self.vhost == "/" {
            format!("{scheme}://{host}/")
        } else {
            let vhost = utf8_percent_encode(&self.vhost, VHOST_ESCAPED);
            format!("{scheme}://{host}/{vhost}/")
        }
    }

    /// Makes the address for the client, for one attempt on one host.
    ///
    /// The heartbeat is what we ask for in `connection.tune-ok`. With SASL EXTERNAL, RabbitMQ takes
    /// the user from the certificate and ignores user and password.
    pub(crate) fn uri(&self, host: &Host) -> AMQPUri {
        let external = self.tls.external.then_some(SASLMechanism::External);
        AMQPUri {
            scheme: if self.encrypted {
                AMQPScheme::AMQPS
            } else {
                AMQPScheme::AMQP
            },
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo {
                    username: self.user.clone(),
                    password: self.password.0.to_string(),
                },
                host: host.name.clone(),
                port: host.port,
            },
            vhost: self.vhost.clone(),
            query: AMQPQueryString {
                heartbeat: Some(u16::try_from(self.heartbeat.as_secs()).unwrap_or(u16::MAX)),
                auth_mechanism: external,
                ..AMQPQueryString::default()
            },
        }
    }

    /// Reads the files of the TLS settings.
    pub(crate) fn tls_config(&self) -> Result<OwnedTLSConfig, String> {
        self.tls.load()
    }

    /// Creates the waits of one loop of attempts.
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.reconnect.0, self.reconnect.1)
    }

    /// Lists the settings that cannot work with any broker.
    pub(crate) fn mistakes(&self) -> Vec<String> {
        let mut mistakes = self.mistakes.clone();
        if self.encrypted {
            mistakes.extend(self.tls.mistakes());
        } else if self.tls.external {
            mistakes.push("tls: external() needs an amqps:// address".to_owned());
        }
        if self.heartbeat < Duration::from_secs(1) {
            mistakes.push("heartbeat is below 1 s, so a dead broker would never be noticed".into());
        }
        if self.confirm_window == 0 {
            mistakes.push("confirm_window is 0, so nothing could ever be published".into());
        }
        if self.rebind.is_zero() {
            mistakes.push("rebind_interval is zero, so endpoints would declare without end".into());
        }
        if self.delay_prefix.is_empty() || self.delay_prefix.len() > LONGEST_PREFIX {
            mistakes.push(format!(
                "delay_prefix has {} bytes; use 1 to {LONGEST_PREFIX}",
                self.delay_prefix.len()
            ));
        }
        if self.connect_timeout.is_zero() {
            mistakes.push("connect_timeout is zero, so no connection could be made".into());
        }
        mistakes
    }
}

/// Name of the executable, without path and extension.
fn program_name() -> String {
    std::env::current_exe()
        .ok()
        .and_then(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .unwrap_or_else(|| "rust".to_owned())
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMq")
            .field("address", &self.base_address())
            .field("hosts", &self.hosts.len())
            .field("user", &self.user)
            .field("name", &self.name)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
