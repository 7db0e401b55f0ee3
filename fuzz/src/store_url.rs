//! Store URLs: `build` takes or refuses each of them, and shows no password.

use crate::secret;
use multi_process_session::SessionManager;
use std::error::Error;

/// Stands for the password in an input.
const MARK: char = '\u{1}';
const PASSWORD: &str = "hUnTeR2pAsS";

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Skip paths that may be devices: the library reads the files of `ca`, `cert` and `key`, and a device may have no
    // end.
    if text.contains("dev") || text.contains("proc") {
        return;
    }
    let url = text.replace(MARK, PASSWORD);
    let shown = match SessionManager::builder(secret(1)).store_url(&url).build() {
        Ok(manager) => format!("{manager:?} {manager:#?}"),
        Err(error) => {
            let mut shown = format!("{error} {error:?}");
            let mut source = error.source();
            while let Some(error) = source {
                shown.push_str(&format!(" {error} {error:?}"));
                source = error.source();
            }
            shown
        }
    };
    // Elsewhere, what stands for the password may be a scheme, a host or a path, which are shown.
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let authority =
        if scheme.contains([':', '/']) { "" } else { rest.split(['/', '?', '#']).next().unwrap_or_default() };
    let is_password = authority.contains(&format!(":{MARK}@")) && text.matches(MARK).count() == 1;
    assert!(!is_password || !shown.contains(PASSWORD), "{url:?}: {shown}");
}

pub fn seeds() -> Vec<Vec<u8>> {
    let urls = [
        "redis://:\u{1}@localhost:6379/0",
        "redis://user:\u{1}@[::1]:6379/15?protocol=resp3&wait_replicas=1&wait_aof=1",
        "redis+unix:///run/redis.sock?db=1&user=u&pass=p",
        "rediss://user:\u{1}@host?ca=/a.pem&cert=/b.pem&key=/c.pem",
        "redis-sentinel://user:\u{1}@a:26379,b,[::1]:1/0?sentinel_user=u&sentinel_pass=p#name",
        "redis-cluster://user:\u{1}@a:7000,b:7001",
        "rediss-cluster://a",
        "sqlite:///tmp/a.db?synchronous=full",
        "memory:",
    ];
    urls.map(|url| url.as_bytes().to_vec()).to_vec()
}
