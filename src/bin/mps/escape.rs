//! Text of strangers, made harmless for a terminal.

use std::fmt::Write;

/// Returns a text in which characters that steer a terminal, or that change the order of letters, are written as
/// `\u{1b}`, and `\` as `\\`.
pub(crate) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' => shown.push_str("\\\\"),
            letter if steers(letter) => shown.extend(letter.escape_unicode()),
            letter => shown.push(letter),
        }
    }
    shown
}

/// Returns a text of several lines, each of them [`escaped`].
pub(crate) fn escaped_lines(text: &str) -> String {
    text.trim_end().split('\n').map(escaped).collect::<Vec<_>>().join("\n")
}

/// Returns a JSON text in which the same characters are written as `\u001b`. In JSON they stand only in strings.
pub(crate) fn escaped_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for letter in json.chars() {
        if steers(letter) {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Returns whether a character is a control character, or has an effect on the characters beside it.
fn steers(letter: char) -> bool {
    letter.is_control()
        // These are not visible: two names that differ by them look alike.
        || matches!(letter, '\u{ad}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}' | '\u{ffa0}')
        || matches!(letter, '\u{fff9}'..='\u{fffb}')
        || matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        // Tags: they are not visible, and can hide a text in another one.
        || matches!(letter, '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        assert_eq!(escaped("a\u{1b}[2J\n\u{9b}é\\"), "a\\u{1b}[2J\\u{a}\\u{9b}é\\\\");
        assert_eq!(escaped("ad\u{ad}a\u{3164}\u{fff9}"), "ad\\u{ad}a\\u{3164}\\u{fff9}");
        assert_eq!(escaped("\u{202e}abc"), "\\u{202e}abc");
        assert_eq!(escaped("ada\u{e0041}\u{e0000}\u{e007f}"), "ada\\u{e0041}\\u{e0000}\\u{e007f}");
        assert_eq!(escaped("Zoë 日本"), "Zoë 日本");
        assert_eq!(escaped_lines("a\u{1b}\n\nb\n"), "a\\u{1b}\n\nb");
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({ "a\u{7f}": "\u{e0041}\u{9b}2J\u{1b}\u{202e}é\u{1f600}" });
        let shown = escaped_json(&value.to_string());
        assert!(shown.chars().all(|letter| !steers(letter)), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
