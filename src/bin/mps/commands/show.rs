//! `mps show`.

use crate::arguments::Show;
use crate::escape::escaped;
use crate::failure::Failure;
use crate::listed::Listed;
use crate::moment::{in_words, time_until, utc};
use crate::opened::Opened;
use crate::output::Output;
use multi_process_session::store::{Located, Size, StoredRecord};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(crate) fn run(opened: &Opened, show: &Show, output: &mut Output) -> Result<(), Failure> {
    let (at, record) = opened.session(show.id)?;
    output.print(|| as_json(&at, &record, show.values), || as_text(&at, &record, show.values))
}

fn as_json<'a>(at: &Located, record: &'a StoredRecord, with_values: bool) -> Part<'a> {
    let state = &record.state;
    let mut shown = Listed::of_record(at, record).json();
    shown["version"] = state.version.into();
    shown["idle_timeout_seconds"] = state.idle_timeout.as_secs().into();
    shown["has_own_idle_timeout"] = state.has_own_idle_timeout.into();
    shown["ends_at"] = state.ends_at.map(utc).into();
    shown["persistent"] = state.persistent.into();
    let values = record.values.iter().map(|(key, stored)| {
        let (kind, name) = kind_and_name(key);
        let mut value = parts(json!({
            "kind": kind, "key": name, "bytes": Size::of_value(key, stored).bytes, "sealed": stored.json().is_none(),
        }));
        if let Some(json) = stored.json().filter(|_| with_values) {
            value.insert("value".to_owned(), Part::of_stored(json));
        }
        Part::Object(value)
    });
    let values = values.collect();
    let mut shown = parts(shown);
    shown.insert("values".to_owned(), Part::List(values));
    Part::Object(shown)
}

/// A part of the JSON output.
enum Part<'a> {
    Made(Value),
    /// Text of the application, as the store has it. To read it as a `Value` would round long numbers.
    Stored(&'a RawValue),
    List(Vec<Part<'a>>),
    Object(BTreeMap<String, Part<'a>>),
}

impl Part<'_> {
    fn of_stored(json: &str) -> Part<'_> {
        let has_lines = json.contains(['\n', '\r']);
        match serde_json::from_str(json) {
            Ok(stored) if !has_lines => Part::Stored(stored),
            _ => Part::Made(serde_json::from_str(json).unwrap_or_else(|_| json.into())),
        }
    }
}

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Part::Made(value) => value.serialize(serializer),
            Part::Stored(json) => json.serialize(serializer),
            Part::List(parts) => parts.serialize(serializer),
            Part::Object(parts) => parts.serialize(serializer),
        }
    }
}

/// Returns the members of an object.
fn parts<'a>(object: Value) -> BTreeMap<String, Part<'a>> {
    let Value::Object(members) = object else { return BTreeMap::new() };
    members.into_iter().map(|(name, value)| (name, Part::Made(value))).collect()
}

fn as_text(at: &Located, record: &StoredRecord, with_values: bool) -> String {
    let state = &record.state;
    let listed = Listed::of_record(at, record);
    let own = if state.has_own_idle_timeout { ", set for this session alone" } else { "" };
    let size = Size::of(&record.values);
    let mut lines = vec![
        format!("public id     {}", at.id),
        format!("user          {}", listed.group.as_deref().map_or("-".to_owned(), escaped)),
        format!("created       {}", utc(listed.created_at)),
        format!("last login    {}", listed.joined_at.map_or("-".to_owned(), utc)),
        format!("last refresh  {}", utc(listed.refreshed_at)),
        format!("expires       {}, in {}", utc(listed.expires_at), in_words(time_until(listed.expires_at))),
        format!("ends          {}", state.ends_at.map_or("-".to_owned(), utc)),
        format!("idle timeout  {}{own}", in_words(state.idle_timeout)),
        format!("cookie        {}", cookie(state.persistent)),
        format!("version       {}", state.version),
        format!("values        {} of {} bytes", size.keys, size.bytes),
    ];
    for (key, stored) in &record.values {
        let (kind, name) = kind_and_name(key);
        let value = match stored.json() {
            None => ", sealed".to_owned(),
            Some(json) if with_values => format!("  {}", escaped(json)),
            Some(_) => String::new(),
        };
        lines.push(format!("  {kind}  {}  {} bytes{value}", escaped(name), Size::of_value(key, stored).bytes));
    }
    lines.join("\n")
}

fn cookie(persistent: Option<bool>) -> &'static str {
    match persistent {
        Some(true) => "outlives the browser",
        Some(false) => "ends with the browser",
        None => "as the settings say",
    }
}

/// Says what a key is for. The library's own keys begin with NUL, and those of the application do not.
fn kind_and_name(key: &str) -> (&'static str, &str) {
    let own = key.trim_start_matches('\0');
    if own == key {
        return ("value", key);
    }
    match own.split_once(':') {
        Some(("flash", name)) => ("flash value", name),
        Some(("before", id)) => ("old id", id),
        Some(("seal", id)) => ("data key of an old id", id),
        None if own == "seal" => ("data key", ""),
        _ => ("of the library", own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_value_is_shown_as_it_is() {
        for (stored, shown) in [
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            (r#"{"b": 1.10, "a": 1e400}"#, r#"{"b": 1.10, "a": 1e400}"#),
            ("[1,\n2]", "[1,2]"),
            ("not JSON", r#""not JSON""#),
        ] {
            assert_eq!(serde_json::to_string(&Part::of_stored(stored)).unwrap(), shown);
        }
    }

    #[test]
    fn the_librarys_own_keys_are_told_from_those_of_the_application() {
        assert_eq!(kind_and_name("flash:a"), ("value", "flash:a"));
        assert_eq!(kind_and_name("\0flash:a:b"), ("flash value", "a:b"));
        assert_eq!(kind_and_name("\0\0before:x"), ("old id", "x"));
        assert_eq!(kind_and_name("\0\0seal"), ("data key", ""));
        assert_eq!(kind_and_name("\0\0seal:x"), ("data key of an old id", "x"));
        assert_eq!(kind_and_name("\0later"), ("of the library", "later"));
    }
}
