//! Turns values into arguments of scripts.

use crate::group_limit::GroupLimit;
use crate::id::PublicId;
use crate::lifetime::{LONGEST_TIMEOUT, Lifetime, Refresh};
use crate::store::record::Size;
use crate::store::stored_value::StoredValue;
use std::fmt::Display;
use std::io::Write;
use std::iter;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The arguments of one call, in the order in which the script reads them.
pub(crate) struct Arguments {
    /// All of them, one after the other.
    bytes: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

/// A value that a script takes as one argument, or as several.
pub(crate) trait Argument {
    fn add_to(&self, arguments: &mut Arguments);
}

impl Arguments {
    /// No arguments yet, and room for those of most calls.
    pub(crate) fn new() -> Arguments {
        Arguments { bytes: Vec::with_capacity(256), ends: Vec::with_capacity(32) }
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn add(&mut self, argument: impl Argument) {
        argument.add_to(self);
    }

    fn add_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
    }

    fn add_number(&mut self, number: impl Display) {
        // A write to a Vec does not fail.
        let _ = write!(self.bytes, "{number}");
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

impl Argument for Vec<u8> {
    fn add_to(&self, arguments: &mut Arguments) {
        arguments.add_bytes(self);
    }
}

impl Argument for &str {
    fn add_to(&self, arguments: &mut Arguments) {
        arguments.add_bytes(self.as_bytes());
    }
}

impl Argument for String {
    fn add_to(&self, arguments: &mut Arguments) {
        arguments.add_bytes(self.as_bytes());
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {
        $(impl Argument for $number {
            fn add_to(&self, arguments: &mut Arguments) {
                arguments.add_number(self);
            }
        })*
    };
}

numbers!(u64, i64, usize);

/// A flag is sent as 1 or 0.
impl Argument for bool {
    fn add_to(&self, arguments: &mut Arguments) {
        arguments.add(if *self { "1" } else { "0" });
    }
}

/// `None` is sent as an empty argument.
impl<A: Argument> Argument for Option<A> {
    fn add_to(&self, arguments: &mut Arguments) {
        match self {
            Some(argument) => argument.add_to(arguments),
            None => arguments.add(""),
        }
    }
}

/// A pair is sent as its first part and then its second part.
impl<A: Argument, B: Argument> Argument for (A, B) {
    fn add_to(&self, arguments: &mut Arguments) {
        self.0.add_to(arguments);
        self.1.add_to(arguments);
    }
}

impl Argument for PublicId {
    fn add_to(&self, arguments: &mut Arguments) {
        arguments.add(self.to_string());
    }
}

/// A duration is sent in milliseconds. It is at most [`LONGEST_TIMEOUT`], because Lua's numbers are exact only up to
/// 2^53.
impl Argument for Duration {
    fn add_to(&self, arguments: &mut Arguments) {
        arguments.add(milliseconds(*self));
    }
}

/// Returns a duration in milliseconds, at most [`LONGEST_TIMEOUT`].
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    duration.min(LONGEST_TIMEOUT).as_millis() as u64
}

/// A time is sent as the number of milliseconds since 1970.
impl Argument for SystemTime {
    fn add_to(&self, arguments: &mut Arguments) {
        let since_1970 = self.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        arguments.add(u64::try_from(since_1970).unwrap_or(u64::MAX));
    }
}

/// A size is sent as two arguments: the number of keys and the number of bytes.
impl Argument for Size {
    fn add_to(&self, arguments: &mut Arguments) {
        arguments.add((self.keys, self.bytes));
    }
}

/// A limit is sent as two arguments: the number of sessions, and whether a login beyond it is refused.
impl Argument for Option<GroupLimit> {
    fn add_to(&self, arguments: &mut Arguments) {
        arguments.add(self.map(|limit| limit.sessions));
        arguments.add(self.is_some_and(|limit| limit.refuses_at().is_some()));
    }
}

impl Argument for &StoredValue {
    fn add_to(&self, arguments: &mut Arguments) {
        arguments.add_bytes(self.as_bytes());
    }
}

/// The settings are sent as three arguments: refresh interval (-1 for never), idle timeout and absolute timeout.
impl Argument for &Lifetime {
    fn add_to(&self, arguments: &mut Arguments) {
        match self.refresh {
            Refresh::After(interval) => arguments.add(interval),
            Refresh::EveryLoad => arguments.add("0"),
            Refresh::Never => arguments.add("-1"),
        }
        arguments.add(self.idle_timeout);
        arguments.add(self.absolute_timeout);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_scripts_read_them() {
        let mut arguments = Arguments::new();
        arguments.add((true, Some(-5_i64)));
        arguments.add((None::<u64>, ("text", 7_usize)));
        arguments.add((Duration::MAX, UNIX_EPOCH + Duration::from_millis(1_500)));
        let idle_timeout = Duration::from_secs(60);
        arguments.add(&Lifetime { idle_timeout, absolute_timeout: None, refresh: Refresh::Never });
        let texts: Vec<_> = arguments.iter().map(String::from_utf8_lossy).collect();
        assert_eq!(texts, ["1", "-5", "", "text", "7", "3153600000000", "1500", "-1", "60000", ""]);
    }
}
