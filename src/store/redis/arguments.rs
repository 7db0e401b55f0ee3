//! How values become arguments of scripts.

use crate::id::PublicId;
use crate::lifetime::{LONGEST_TIMEOUT, Lifetime, Refresh};
use crate::store::record::Size;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The arguments of one call, in the order in which the script reads them.
#[derive(Default)]
pub(crate) struct Arguments(pub(crate) Vec<Vec<u8>>);

/// A value that a script takes as one argument, or as several.
pub(crate) trait Argument {
    fn add_to(&self, arguments: &mut Arguments);
}

impl Arguments {
    pub(crate) fn add(&mut self, argument: impl Argument) {
        argument.add_to(self);
    }

    fn add_bytes(&mut self, bytes: impl Into<Vec<u8>>) {
        self.0.push(bytes.into());
    }
}

impl Argument for Vec<u8> {
    fn add_to(&self, arguments: &mut Arguments) {
        arguments.add_bytes(&**self);
    }
}

impl Argument for &str {
    fn add_to(&self, arguments: &mut Arguments) {
        arguments.add_bytes(*self);
    }
}

impl Argument for String {
    fn add_to(&self, arguments: &mut Arguments) {
        arguments.add(self.as_str());
    }
}

impl Argument for u64 {
    fn add_to(&self, arguments: &mut Arguments) {
        arguments.add(self.to_string());
    }
}

impl Argument for i64 {
    fn add_to(&self, arguments: &mut Arguments) {
        arguments.add(self.to_string());
    }
}

impl Argument for usize {
    fn add_to(&self, arguments: &mut Arguments) {
        arguments.add(self.to_string());
    }
}

/// 1 or 0.
impl Argument for bool {
    fn add_to(&self, arguments: &mut Arguments) {
        arguments.add(if *self { "1" } else { "0" });
    }
}

/// Empty for `None`.
impl<A: Argument> Argument for Option<A> {
    fn add_to(&self, arguments: &mut Arguments) {
        match self {
            Some(argument) => argument.add_to(arguments),
            None => arguments.add(""),
        }
    }
}

/// One after the other.
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

/// Milliseconds: at most [`LONGEST_TIMEOUT`], so that no script counts further than Lua's numbers go.
impl Argument for Duration {
    fn add_to(&self, arguments: &mut Arguments) {
        arguments.add((*self).min(LONGEST_TIMEOUT).as_millis() as u64);
    }
}

/// Milliseconds since 1970.
impl Argument for SystemTime {
    fn add_to(&self, arguments: &mut Arguments) {
        let since_1970 = self.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        arguments.add(u64::try_from(since_1970).unwrap_or(u64::MAX));
    }
}

/// Number of keys, number of bytes.
impl Argument for Size {
    fn add_to(&self, arguments: &mut Arguments) {
        arguments.add((self.keys, self.bytes));
    }
}

/// Refresh interval (-1 for never), idle timeout, absolute timeout.
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
