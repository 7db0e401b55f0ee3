//! The fuzz targets. Each is a function that panics if the library breaks a promise.

pub mod cookie;
pub mod public_id;
pub mod redis_record;
pub mod redis_reply;
pub mod sqlite_file;
pub mod sqlite_record;
pub mod store_url;
pub mod token;

mod calls;
mod input;
mod redis_server;
mod sqlite_template;

use multi_process_session::{Secret, SetCookie};
use std::time::Duration;

/// One thing that is fuzzed.
pub struct Target {
    pub name: &'static str,
    /// Tries one input.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

pub static TARGETS: [Target; 8] = [
    Target { name: "cookie", run: cookie::run, seeds: cookie::seeds },
    Target { name: "token", run: token::run, seeds: token::seeds },
    Target { name: "public_id", run: public_id::run, seeds: public_id::seeds },
    Target { name: "store_url", run: store_url::run, seeds: store_url::seeds },
    Target { name: "redis_reply", run: redis_reply::run, seeds: redis_reply::seeds },
    Target { name: "redis_record", run: redis_record::run, seeds: redis_record::seeds },
    Target { name: "sqlite_record", run: sqlite_record::run, seeds: sqlite_record::seeds },
    Target { name: "sqlite_file", run: sqlite_file::run, seeds: sqlite_file::seeds },
];

/// The most time for a call on something damaged.
const SHORT: Duration = Duration::from_secs(1);
/// The most time for a call that has to succeed, even on a busy machine.
const PATIENT: Duration = Duration::from_secs(20);

fn secret(byte: u8) -> Secret {
    Secret::new([byte; 32]).expect("32 bytes are enough")
}

/// The `Cookie` header that a browser makes of a `Set-Cookie` header.
fn pair(set_cookie: &SetCookie) -> String {
    set_cookie.pair().to_owned()
}
