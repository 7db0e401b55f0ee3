//! TLS, with [rustls](https://docs.rs/rustls) and *ring*.

use crate::error::ConfigError;
use crate::store::redis::wire::one_line::one_line;
use crate::store::redis::wire::socket::DeadlineStream;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

/// The settings of TLS: the certificate authorities that we trust, and our own certificate.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
}

impl Tls {
    /// Reads the files that the `parameters` of a URL name. The store reads them once, when it is made. So a fault is
    /// an error of the settings, and the processes that connect later do not need the right to read the files.
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
            .expect("ring has ciphers for these versions")
            .with_root_certificates(roots);
        let mut config = match (parameters.get("cert"), parameters.get("key")) {
            (None, None) => config.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let of_cert =
                    |error| unusable("cert", "our certificate, and after it the certificates that vouch for it")(error);
                let of_key = |error| unusable("key", "the private key of our certificate, not encrypted")(error);
                let chain = certificates(cert).map_err(of_cert)?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| of_key(error.into()))?;
                config.with_client_auth_cert(chain, key).map_err(|error| of_key(error.into()))?
            }
            _ => return Err(ConfigError::StoreUrl { expected }),
        };
        // A fork would copy the session tickets of TLS, and several processes would use the same ones. Connections are
        // rarely opened, so tickets would save little.
        config.resumption = Resumption::disabled();
        Ok(Tls { config: Arc::new(config) })
    }

    /// Begins TLS on a new connection. Fails if the certificate is not trusted, or is not one for this host.
    pub(crate) fn handshake(&self, host: &str, mut socket: DeadlineStream<'_>) -> io::Result<ClientConnection> {
        let mut connection = ClientConnection::new(self.config.clone(), name(host)?).map_err(io::Error::other)?;
        // The error may repeat what the server's certificate says.
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
