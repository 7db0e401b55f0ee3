//! The table that a terminal shows.

use super::look::{Look, milliseconds, number};
use crate::escape::escaped;
use crate::moment::utc;
use terminal_size::{Height, Width, terminal_size_of};

/// Puts the cursor at the top, and clears what is below it.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";
/// The narrowest columns of values and of changes, so that they seldom move from look to look.
const NARROWEST: usize = 12;

/// The size of a terminal, in characters.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

impl Size {
    /// Returns the size of the terminal that shows the output. A terminal that does not tell counts as 80 x 24.
    pub(crate) fn of_terminal() -> Size {
        let (Width(columns), Height(rows)) = terminal_size_of(std::io::stdout()).unwrap_or((Width(80), Height(24)));
        Size { columns: columns.into(), rows: rows.into() }
    }
}

pub(crate) fn table(look: &Look, before: Option<&Look>, size: Size) -> String {
    let took = |time| match time {
        Some(time) => milliseconds(time),
        None => "-".to_owned(),
    };
    let head = format!("{}  {}  ping {}  write {}", utc(look.at), look.state(), took(look.ping), took(look.write));
    let mut lines = vec![head];
    lines.extend(look.errors.iter().map(|error| escaped(error)));
    lines.push(String::new());
    lines.extend(figures(look, before, size.columns));
    lines.push("Ctrl-C ends it.".to_owned());
    format!("{CLEAR}{}\n", fitted(lines, size).join("\n"))
}

/// Returns a line for each figure: its name, its value and its change. A name that is too long is cut.
fn figures(look: &Look, before: Option<&Look>, columns: usize) -> Vec<String> {
    let rows = look.rows(before).map(|row| (escaped(row.name), number(row.value), row.change()));
    let rows: Vec<(String, String, String)> = rows.collect();
    let longest = |length: fn(&(String, String, String)) -> usize| rows.iter().map(length).max().unwrap_or(0);
    let value = longest(|(_, value, _)| value.len()).max(NARROWEST);
    let change = longest(|(.., change)| change.len()).max(NARROWEST);
    let name = longest(|(name, ..)| name.chars().count()).min(columns.saturating_sub(value + change + 2));
    let line = |(of, is, changes): &(String, String, String)| {
        format!("{:name$} {is:>value$} {changes:>change$}", cut(of, name))
    };
    rows.iter().map(line).collect()
}

/// Cuts the lines to the size of the terminal. The last row stays free for the cursor. If there are too many lines, the
/// first ones are kept, because they say how the store is.
fn fitted(mut lines: Vec<String>, size: Size) -> Vec<String> {
    let room = size.rows.saturating_sub(1).max(1);
    if lines.len() > room {
        let hidden = lines.len() + 1 - room;
        lines.truncate(room - 1);
        lines.push(format!("{hidden} more lines: see --json, or enlarge the terminal"));
    }
    lines.iter().map(|line| cut(line, size.columns)).collect()
}

/// Cuts a text that has more characters than this.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept = text.chars().take(most.saturating_sub(1));
    kept.chain(std::iter::once('…').take(most)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use multi_process_session::store::Figure;
    use std::time::{Duration, Instant, SystemTime};

    fn look() -> Look {
        let figure = |number: u32| Figure {
            name: format!("10.0.0.{}:6379 {}", number % 3, "n".repeat(number as usize)),
            value: 1e9 / f64::from(number),
        };
        Look {
            begun: Instant::now(),
            at: SystemTime::UNIX_EPOCH,
            ping: Some(Duration::from_millis(1)),
            write: None,
            sessions: Some(7),
            figures: (1..40).map(figure).collect(),
            errors: vec!["the store does not take writes: ".repeat(9)],
        }
    }

    #[test]
    fn a_table_fits_its_terminal_and_begins_with_the_state() {
        for (columns, rows) in [(1, 1), (20, 5), (40, 10), (80, 24), (200, 24), (200, 100)] {
            let text = table(&look(), None, Size { columns, rows });
            let lines: Vec<&str> = text.strip_prefix(CLEAR).unwrap().lines().collect();
            assert!(lines.len() < rows.max(2), "{columns} x {rows}: {text}");
            assert!(lines.iter().all(|line| line.chars().count() <= columns), "{columns} x {rows}: {text}");
            if rows > 4 && columns >= 40 {
                assert!(lines[0].starts_with("1970-01-01T00:00:00Z  no writes  "), "{text}");
                assert!(lines[1].starts_with("the store does not take writes"), "{text}");
                let is_whole = rows > 44;
                assert_eq!(lines.last().unwrap().starts_with("Ctrl-C"), is_whole, "{text}");
            }
        }
    }

    #[test]
    fn a_long_name_does_not_shift_the_columns() {
        for columns in [40, 60, 80, 200] {
            let lines = figures(&look(), None, columns);
            let end_of_value = |line: &String| line.trim_end().chars().count();
            assert!(lines.iter().all(|line| end_of_value(line) == end_of_value(&lines[0])), "{columns}: {lines:#?}");
        }
    }
}
