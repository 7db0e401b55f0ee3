//! Ports of this machine for servers of the tests. They lie below those that outgoing connections get.

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::getuid;
use std::fs::OpenOptions;
use std::net::TcpListener;
use std::os::unix::fs::FileExt;

/// Returns a port that nobody listens on.
pub fn free_port() -> u16 {
    loop {
        let number = next_number() % 8_000;
        let port = if number < 4_000 { 16_000 + number } else { 22_000 + number };
        if is_free(port) {
            return port;
        }
    }
}

/// Returns a port for a node of a cluster. The nodes talk to each other on the one that is 10,000 higher; before Redis
/// 7 that cannot be changed.
pub fn free_port_of_node() -> u16 {
    loop {
        let port = 10_000 + next_number() % 6_000;
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// Returns the next number from a file that all processes share. So two processes never try the same port at the same
/// time.
fn next_number() -> u16 {
    let path = std::env::temp_dir().join(format!("mps-tests-{}.ports", getuid()));
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).expect("a file");
    let file = Flock::lock(file, FlockArg::LockExclusive).expect("a lock");
    let mut number = [0; 2];
    let _ = file.read_exact_at(&mut number, 0); // empty at first
    let next = u16::from_le_bytes(number).wrapping_add(1);
    file.write_all_at(&next.to_le_bytes(), 0).expect("a file");
    next
}
