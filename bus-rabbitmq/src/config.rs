//! Address of the broker, and settings of the connections to it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bus_core::transport::Backoff;
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::{
    AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::tls::Tls;

const VHOST_ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// One broker node.
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

/// Settings of the connections; their `Debug` form holds no secret.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) hosts: Vec<Host>,
    pub(crate) vhost: String,
    pub(crate) user: String,
    password: Secret,
    pub(crate) encrypted: bool,
    pub(crate) tls: Tls,
    pub(crate) name: String,
    pub(crate) heartbeat: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) confirm_window: usize,
    pub(crate) reconnect: (Duration, Duration),
    /// Interval at which an endpoint declares its exchanges and bindings again.
    pub(crate) rebind: Duration,
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
            let host = self.host(host)?;
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

    /// Reads `name`, `name:port` or `[v6]:port`, with blanks around it.
    pub(crate) fn host(&self, text: &str) -> Result<Host, String> {
        let text = text.trim();
        let default = if self.encrypted { 5671 } else { 5672 };
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
        Ok(Host {
            name: name.to_owned(),
            port,
        })
    }

    pub(crate) fn set_credentials(&mut self, user: String, password: &str) {
        self.user = user;
        self.password = Secret(password.into());
    }

    /// Formats `rabbitmq://host/vhost/`, without credentials.
    ///
    /// The default port and virtual host are left out.
    pub(crate) fn base_address(&self) -> String {
        let scheme = if self.encrypted {
            "rabbitmqs"
        } else {
            "rabbitmq"
        };
        let default = if self.encrypted { 5671 } else { 5672 };
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

    pub(crate) fn tls_config(&self) -> Result<OwnedTLSConfig, String> {
        self.tls.load()
    }

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
        if self.connect_timeout.is_zero() {
            mistakes.push("connect_timeout is zero, so no connection could be made".into());
        }
        mistakes
    }
}

/// Parts of an address, as they stand in it.
struct Parts<'a> {
    encrypted: bool,
    login: Option<&'a str>,
    hosts: &'a str,
    vhost: &'a str,
    options: &'a str,
}

/// Cuts an address into its parts.
///
/// An error repeats none of it: any part may hold the password if another one is mistaken.
fn parts(address: &str) -> Result<Parts<'_>, &'static str> {
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

fn decoded(text: &str, what: &str) -> Result<String, String> {
    percent_decode_str(text)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| format!("{what} is not UTF-8"))
}

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
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_all_their_forms() {
        for (address, base, vhost, user) in [
            ("amqp://localhost", "rabbitmq://localhost/", "/", "guest"),
            ("amqp://h:5673/", "rabbitmq://h:5673/", "/", "guest"),
            ("amqps://h", "rabbitmqs://h/", "/", "guest"),
            (
                "amqps://u:p@h:5671/team%2Fa",
                "rabbitmqs://h/team%2Fa/",
                "team/a",
                "u",
            ),
            ("rabbitmq://u@h1,h2:5673/v", "rabbitmq://h1/v/", "v", "u"),
            ("rabbitmq://u@h/team/", "rabbitmq://h/team/", "team", "u"),
            (
                "amqp://h/team%2F/",
                "rabbitmq://h/team%2F/",
                "team/",
                "guest",
            ),
            ("amqp://h/%2F/?heartbeat=5", "rabbitmq://h/", "/", "guest"),
            (
                "amqp://h/team%40home\n",
                "rabbitmq://h/team%40home/",
                "team@home",
                "guest",
            ),
            (
                " amqp://u:p@ h1 , h2:5673 /team \r\n",
                "rabbitmq://h1/team/",
                "team",
                "u",
            ),
            ("amqp://h?heartbeat=5", "rabbitmq://h/", "/", "guest"),
            (
                "amqp://[::1]:5673/%2f",
                "rabbitmq://[::1]:5673/",
                "/",
                "guest",
            ),
        ] {
            let config = Config::new(address);
            assert_eq!(config.mistakes(), [""; 0], "{address}");
            assert_eq!(config.base_address(), base);
            assert_eq!((config.vhost.as_str(), config.user.as_str()), (vhost, user));
            let again = Config::new(&config.base_address());
            assert_eq!(again.mistakes(), [""; 0], "{address}");
            assert_eq!(again.base_address(), base);
            assert_eq!(again.vhost, config.vhost);
        }
    }

    #[test]
    fn blanks_around_hosts_are_no_part_of_them() {
        let config = Config::new("amqp://u:p@ h1 ,\th2:5673 , [::1]:5674\n");
        assert_eq!(config.mistakes(), [""; 0]);
        let hosts: Vec<_> = config.hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["h1:5672", "h2:5673", "[::1]:5674"]);
    }

    #[test]
    fn a_password_that_is_not_encoded_is_a_mistake() {
        for address in [
            "amqp://dig:12/34s3cret@h:5672/team",
            "amqp://s3cret/ken@h",
            "amqp://guest:s3/cret@h",
            "amqp://guest:s3?cret@h/v",
            "amqp://u:1234/s3cret@h",
            "amqp://u:p@h?x=s3cret@other",
        ] {
            let mut config = Config::new(address);
            config.name = "test".to_owned();
            let mistakes = config.mistakes();
            assert_eq!(mistakes.len(), 1, "{address}: {mistakes:?}");
            assert!(
                mistakes[0].contains("percent-encode the password"),
                "{mistakes:?}"
            );
            let printed = format!("{mistakes:?} {config:?} {}", config.base_address());
            for part in ["s3", "cret", "1234", "12", "34", "ken", "dig", "other"] {
                assert!(!printed.contains(part), "{part} of {address}: {printed}");
            }
        }
    }

    #[test]
    fn a_wrong_address_is_named_without_its_password() {
        for address in [
            "localhost",
            "http://u:s3cret@h",
            "amqp://u:s3cret@h:port",
            "amqp://u:s3cret@",
            "amqp://u:s3cret@[::1",
            "amqp://u:s3cret%ff@h",
            "amqp://u:s3cret@h?heartbeat=soon",
            "amqp://u:s3cret@h1,,h2",
            "amqp://u:s3cret@h1,h2, /v",
            "amqp://u:s3cret@h 1",
            "amqp://u:s3cret@[::1]s3cret",
            "u:s3cret://x@h",
        ] {
            let mistakes = Config::new(address).mistakes();
            assert_eq!(mistakes.len(), 1, "{address}");
            assert!(!mistakes[0].contains("s3cret"), "{mistakes:?}");
        }
    }

    #[test]
    fn secrets_are_never_printed() {
        let config = Config::new("amqp://u:s3cret@h/v");
        let printed = format!("{config:?} {}", config.base_address());
        assert!(!printed.contains("s3cret"), "{printed}");
        assert_eq!(
            config.uri(&config.hosts[0]).authority.userinfo.password,
            "s3cret"
        );
    }
}
