//! Certificates of the test's own, and servers that show them.

use super::ports::free_port;
use super::redis::Redis;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// An authority, and the folder with everything that it has certified.
pub struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// The PEM files of a certificate and its key.
pub struct Certified {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new() -> Authority {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut params = CertificateParams::new([]).expect("no names");
        let name = folder.path().display().to_string();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("a file");
        Authority { folder, issuer: Issuer::new(params, key) }
    }

    /// The file with its own certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Certifies a server or a client with these names and addresses.
    pub fn certify(&self, names: &[&str]) -> Certified {
        self.certify_until(names, 2100)
    }

    pub fn certify_until(&self, names: &[&str], year: i32) -> Certified {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names.clone()).expect("names");
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let path = |kind: &str| self.folder.path().join(format!("{}-{year}.{kind}", names.join("-")));
        let certified = Certified { cert: path("pem"), key: path("key") };
        fs::write(&certified.cert, certificate.pem()).expect("a file");
        fs::write(&certified.key, key.serialize_pem()).expect("a file");
        certified
    }

    /// The options with which a Redis or a Sentinel speaks TLS on this port.
    pub fn options(&self, certified: &Certified, port: u16) -> Vec<String> {
        let ca = self.ca();
        let options = [
            ("bind", "127.0.0.1"),
            ("tls-port", &port.to_string()),
            ("tls-cert-file", path(&certified.cert)),
            ("tls-key-file", path(&certified.key)),
            ("tls-ca-cert-file", path(&ca)),
            ("tls-replication", "yes"),
        ];
        options.iter().flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()]).collect()
    }

    /// Starts a Redis with this certificate and further options. Returns its port, too.
    pub fn redis(&self, certified: &Certified, further: &[&str]) -> (Redis, u16) {
        let port = free_port();
        let options = self.options(certified, port);
        let options: Vec<&str> = options.iter().map(String::as_str).chain(further.iter().copied()).collect();
        (Redis::start_with(&options), port)
    }
}

pub fn path(path: &std::path::Path) -> &str {
    path.to_str().expect("a path of UTF-8")
}

/// Starts a proxy before a server on TCP. While it is `slow`, it pauses after each byte from the server. Returns its
/// port.
pub fn trickle(server: u16, slow: &Arc<AtomicBool>, pause: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let slow = slow.clone();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.expect("a client");
            let server = TcpStream::connect(("127.0.0.1", server)).expect("the server listens");
            let (mut to_server, mut from_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
            let slow = slow.clone();
            thread::spawn(move || -> std::io::Result<()> {
                client.set_nodelay(true)?;
                for byte in BufReader::new(server).bytes() {
                    (&client).write_all(&[byte?])?;
                    if slow.load(Ordering::Relaxed) {
                        thread::sleep(pause);
                    }
                }
                Ok(())
            });
        }
    });
    port
}

/// Starts a server that lets clients connect, and says nothing. Returns its port.
pub fn silent() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, port)
}
