//! The aims of the library, and what a bench says about them at its end.

use super::is_measured;

/// Collects which aims are met.
#[derive(Default)]
pub struct Aims {
    lines: Vec<String>,
}

impl Aims {
    /// Adds an aim: this ratio is to be at most so much.
    pub fn add(&mut self, what: &str, ratio: f64, at_most: f64) {
        let answer = if ratio <= at_most { "met" } else { "NOT met" };
        self.lines.push(format!("{what:<86} {ratio:>5.2} x, aim {at_most:.2} x: {answer}"));
    }

    /// Prints them, if the bench measures.
    pub fn print(&self) {
        if !is_measured() {
            return;
        }
        println!("\nAims");
        self.lines.iter().for_each(|line| println!("{line}"));
    }
}
