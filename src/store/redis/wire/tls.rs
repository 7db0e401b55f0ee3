//! TLS, with [rustls](https://docs.rs/rustls) and *ring*.

use crate::error::ConfigError;
use crate::store::redis::wire::failure::one_line;
use crate::store::redis::wire::socket::Until;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

/// Whom we trust, and who we say we are.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
}

impl Tls {
    /// Reads the files that the `parameters` name, while there is somebody to tell what is wrong with them; later
    /// processes may have no right to read them.
    pub(crate) fn new(
        host: &str,
        parameters: &BTreeMap<String, String>,
        expected: &'static str,
    ) -> Result<Tls, ConfigError> {
        name(host).map_err(|_| ConfigError::StoreUrl { expected })?;
        let roots = match parameters.get("ca") {
            Some(path) => roots(path)?,
            None => roots_of_the_system()?,
        };
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has ciphers for them")
            .with_root_certificates(roots);
        let mut config = match (parameters.get("cert"), parameters.get("key")) {
            (None, None) => config.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let of_cert =
                    |error| unusable("cert", "our certificate first and those that vouch for it after it")(error);
                let of_key = |error| unusable("key", "the private key of our certificate, not encrypted")(error);
                let chain = certificates(cert).map_err(of_cert)?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| of_key(error.into()))?;
                config.with_client_auth_cert(chain, key).map_err(|error| of_key(error.into()))?
            }
            _ => return Err(ConfigError::StoreUrl { expected }),
        };
        // Tickets would be copied by a fork, and used by several processes; and connections are opened rarely.
        config.resumption = Resumption::disabled();
        Ok(Tls { config: Arc::new(config) })
    }

    /// Makes a connection safe, or fails: if the certificate is not one for this host, for instance.
    pub(crate) fn handshake(&self, host: &str, mut socket: Until<'_>) -> io::Result<ClientConnection> {
        let mut connection = ClientConnection::new(self.config.clone(), name(host)?).map_err(io::Error::other)?;
        // What rustls says may be what the server's certificate says.
        connection
            .complete_io(&mut socket)
            .map_err(|error| io::Error::new(error.kind(), one_line(&error.to_string())))?;
        Ok(connection)
    }
}

fn name(host: &str) -> io::Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

fn roots(path: &str) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    let read = certificates(path).and_then(|found| {
        found.into_iter().try_for_each(|certificate| roots.add(certificate))?;
        Ok(roots)
    });
    read.map_err(unusable("ca", "the certificates of the authorities to trust"))
}

fn roots_of_the_system() -> Result<RootCertStore, ConfigError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    match found.errors.into_iter().next() {
        _ if !roots.is_empty() => Ok(roots),
        Some(error) => Err(ConfigError::NoRootCertificates { source: error.into() }),
        None => Err(ConfigError::NoRootCertificates { source: "there are none".into() }),
    }
}

type Source = Box<dyn StdError + Send + Sync>;

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, Source> {
    let found: Vec<_> = CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?;
    if found.is_empty() { Err("there is no certificate in it".into()) } else { Ok(found) }
}

fn unusable(parameter: &'static str, content: &'static str) -> impl Fn(Source) -> ConfigError {
    move |source| ConfigError::PemFile { parameter, content, source }
}
