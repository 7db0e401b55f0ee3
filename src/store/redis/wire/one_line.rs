//! Cleans texts from outside before they appear in errors and in the log.

/// Makes one short line of printable ASCII out of any text. A control character becomes a space, another one a `?`.
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
