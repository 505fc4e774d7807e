//! TLS settings: trusted authorities and the client's certificate.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};

/// TLS settings for `amqps://` addresses.
///
/// Certificates and names of hosts are always verified, against the system's authorities and those
/// added here. The files are read for each attempt to connect, so a renewed certificate is used
/// from the next one on; a file that cannot be read is reported by
/// [`BusBuilder::start`](bus_core::BusBuilder::start).
///
/// ```
/// use bus_rabbitmq::{RabbitMq, Tls};
///
/// let tls = Tls::new().ca_file("/etc/ssl/broker-ca.pem").client_certificate("client.pem", "client.key");
/// let transport = RabbitMq::new("amqps://broker.example").tls(tls.external());
/// # let _ = transport;
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Tls {
    ca_file: Option<PathBuf>,
    identity: Option<Identity>,
    pub(crate) external: bool,
}

/// Client certificate with its key, in one of two formats.
#[derive(Clone)]
enum Identity {
    Pem { certificate: PathBuf, key: PathBuf },
    Pkcs12 { file: PathBuf, password: Arc<str> },
}

impl Tls {
    /// Trusts the system's certificate authorities, and shows no client certificate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the authorities in this PEM file, beside those of the system.
    ///
    /// A second call replaces the first.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Shows this client certificate to the broker.
    ///
    /// Both are PEM files: the certificate chain, and its PKCS #8 key. Replaces a certificate that
    /// was set before.
    pub fn client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.identity = Some(Identity::Pem {
            certificate: certificate.into(),
            key: key.into(),
        });
        self
    }

    /// Shows the client certificate of this PKCS #12 file to the broker.
    ///
    /// The password is never printed. Replaces a certificate that was set before.
    ///
    /// ```
    /// use bus_core::transport::Transport;
    /// use bus_rabbitmq::{RabbitMq, Tls};
    ///
    /// let tls = Tls::new().client_pkcs12("no-such-file.p12", "secret");
    /// let mistakes = RabbitMq::new("amqps://broker.example").tls(tls).mistakes();
    /// assert!(mistakes[0].contains("no-such-file.p12"));
    /// ```
    pub fn client_pkcs12(
        mut self,
        file: impl Into<PathBuf>,
        password: impl Into<Arc<str>>,
    ) -> Self {
        self.identity = Some(Identity::Pkcs12 {
            file: file.into(),
            password: password.into(),
        });
        self
    }

    /// Logs in as the user that the client certificate names (SASL EXTERNAL).
    ///
    /// User and password are not sent. Needs a client certificate and an `amqps://` address;
    /// without them, [`BusBuilder::start`](bus_core::BusBuilder::start) fails. The broker needs the
    /// plugin `rabbitmq_auth_mechanism_ssl`; it reads the user from the certificate's subject, or
    /// its common name with `ssl_cert_login_from = common_name`.
    pub fn external(mut self) -> Self {
        self.external = true;
        self
    }

    /// Reads the files.
    ///
    /// Read for each attempt to connect, so that a renewed certificate is used from the next
    /// connection on.
    pub(crate) fn load(&self) -> Result<OwnedTLSConfig, String> {
        let cert_chain = match &self.ca_file {
            Some(path) => Some(
                String::from_utf8(read("ca_file", path)?)
                    .map_err(|_| format!("ca_file {} is not PEM text", path.display()))?,
            ),
            None => None,
        };
        let identity = match &self.identity {
            None => None,
            Some(Identity::Pem { certificate, key }) => Some(OwnedIdentity::PKCS8 {
                pem: read("client certificate", certificate)?,
                key: read("client key", key)?,
            }),
            Some(Identity::Pkcs12 { file, password }) => Some(OwnedIdentity::PKCS12 {
                der: read("client certificate", file)?,
                password: password.to_string(),
            }),
        };
        Ok(OwnedTLSConfig {
            identity,
            cert_chain,
        })
    }

    /// Lists the settings that cannot work with any broker.
    ///
    /// A file that is missing at the start is such a mistake; one that is lost later makes the
    /// attempts to connect fail until it is back.
    pub(crate) fn mistakes(&self) -> Vec<String> {
        let mut mistakes: Vec<_> = self.load().err().into_iter().collect();
        if self.external && self.identity.is_none() {
            mistakes.push("tls: external() needs a client certificate".to_owned());
        }
        mistakes
    }
}

/// Reads a file; the error names the setting and the path.
fn read(what: &str, path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path)
        .map_err(|error| format!("tls: {what} {} cannot be read: {error}", path.display()))
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("ca_file", &self.ca_file)
            .field("client_certificate", &self.identity.is_some())
            .field("external", &self.external)
            .finish()
    }
}
