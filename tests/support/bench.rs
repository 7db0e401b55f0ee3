//! What the benches share.

/// Whether `cargo bench` runs this bench. Otherwise it is a test that it works, and does little: criterion looks for
/// the same word.
pub fn is_measured() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}
