//! The table that a terminal shows.

use super::look::{Look, milliseconds, number};
use crate::escape::escaped;
use crate::moment::utc;

/// Puts the cursor at the top, and clears what is below it.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

pub(crate) fn table(look: &Look, before: Option<&Look>) -> String {
    let took = |time| match time {
        Some(time) => milliseconds(time),
        None => "-".to_owned(),
    };
    let mut lines = vec![
        format!("{}  {}  ping {}  write {}", utc(look.at), look.state(), took(look.ping), took(look.write)),
        String::new(),
    ];
    for row in look.rows(before) {
        lines.push(format!("{:32} {:>18} {:>14}", escaped(row.name), number(row.value), row.change()));
    }
    lines.extend(look.errors.iter().map(|error| escaped(error)));
    lines.push("Ctrl-C ends it.".to_owned());
    format!("{CLEAR}{}\n", lines.join("\n"))
}
