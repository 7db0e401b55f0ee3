//! `SCAN`, in small steps.

use crate::deadline::Deadline;
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::Failure;
use redis::{FromRedisValue, cmd};

/// Runs one `SCAN`, which looks at about `count` keys. Returns the cursor for the next one (0 after the last one), and
/// the keys of this one. A key that is not UTF-8 is not ours, and is left out.
pub(crate) fn scan_step(
    connection: &mut Connection,
    deadline: Deadline,
    cursor: u64,
    pattern: &str,
    count: usize,
) -> Result<(u64, Vec<String>), Failure> {
    let mut scan = cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(count);
    let nonsense = || Failure::not_ours("the reply to SCAN is of another form");
    let reply = connection.request(&scan, deadline)?;
    let (cursor, keys) = <(u64, Vec<Vec<u8>>)>::from_redis_value(reply).map_err(|_| nonsense())?;
    Ok((cursor, keys.into_iter().filter_map(|key| String::from_utf8(key).ok()).collect()))
}

/// Returns the pattern that matches only this text.
pub(crate) fn glob(text: &str) -> String {
    let mut pattern = String::new();
    for letter in text.chars() {
        if "*?[]\\^-".contains(letter) {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_pattern_matches_its_text_alone() {
        assert_eq!(glob("a-b_c.d"), "a\\-b_c.d");
        assert_eq!(glob("[*?\\]"), "\\[\\*\\?\\\\\\]");
    }
}
