//! Connections over TLS.

use std::path::Path;

use redis::{Client, ErrorKind, RedisError, TlsCertificates};
use rustls::crypto::{CryptoProvider, ring};

/// Chooses ring for a process that has chosen no other cryptography yet.
///
/// The client would panic where several are compiled in.
pub(crate) fn choose_cryptography() {
    if CryptoProvider::get_default().is_none() {
        // Another thread may have been faster.
        let _ = ring::default_provider().install_default();
    }
}

/// Returns a client that trusts the authorities of a PEM file alone.
pub(crate) fn trusting(client: &Client, ca_file: &Path) -> Result<Client, RedisError> {
    let unreadable = |reason: String| {
        let file = format!("{}: {reason}", ca_file.display());
        RedisError::from((
            ErrorKind::InvalidClientConfig,
            "the file of authorities cannot be used",
            file,
        ))
    };
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert: Some(std::fs::read(ca_file).map_err(|error| unreadable(error.to_string()))?),
    };
    let address = client.get_connection_info().clone();
    Client::build_with_tls(address, certificates).map_err(|error| unreadable(error.to_string()))
}
