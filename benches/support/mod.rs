//! The helpers of the benches: those of the tests, and those that measure.

#![allow(dead_code, unreachable_pub)] // each bench uses its part of it

pub mod aim;
pub mod bare;
pub mod copies;
pub mod meter;
pub mod processor;

#[path = "../../tests/support/mod.rs"]
mod tests;

#[allow(unused_imports)]
pub use tests::*;

/// Five small values, as many sessions have them.
pub const VALUES: [(&str, &str); 5] =
    [("user", "ada"), ("name", "Ada Lovelace"), ("cart", "three apples"), ("theme", "dark"), ("language", "en")];

/// Whether `cargo bench` runs this bench. Otherwise it is a test that the bench works, and does little.
pub fn is_measured() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// Returns the first number if the bench measures, and the second one if it is only tested.
pub fn pick(measured: usize, tested: usize) -> usize {
    if is_measured() { measured } else { tested }
}

/// Returns the number after `name=` among the arguments of the bench.
pub fn argument(name: &str) -> Option<usize> {
    std::env::args().find_map(|argument| argument.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}
