//! Foreign texts for errors and for the log.

/// Makes one short line of printable ASCII out of a text that may be of any length and hold anything.
pub(crate) fn one_line(text: &str) -> String {
    const MOST: usize = 300;
    let printable = |c: char| match c {
        ' '..='~' => c,
        _ if c.is_control() => ' ',
        _ => '?',
    };
    let line: String = text.chars().take(MOST).map(printable).collect();
    line.trim_end().to_owned()
}
