//! The helpers of the benches: those of the tests, and `is_measured`.

#![allow(dead_code, unreachable_pub)] // each bench uses its part of it

#[path = "../../tests/support/mod.rs"]
mod tests;

#[allow(unused_imports)]
pub use tests::*;

/// Whether `cargo bench` runs this bench. Otherwise it is a test that it works, and does little: criterion looks for
/// the same word.
pub fn is_measured() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}
