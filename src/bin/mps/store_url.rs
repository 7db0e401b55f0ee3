//! The URL of a store, with the password that stands elsewhere.

use crate::arguments::{Copy, Global};
use crate::failure::Failure;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// The parameters of a query that hold a password.
const PASSWORDS: [&str; 4] = ["pass", "password", "sentinel_pass", "sentinel_password"];

/// Where the URL of a store and its password come from.
pub(crate) struct Source<'a> {
    /// What the options are called, for messages.
    pub(crate) option: &'static str,
    pub(crate) url: Option<&'a str>,
    pub(crate) url_variable: &'static str,
    pub(crate) password_option: &'static str,
    pub(crate) password_file: Option<&'a Path>,
    pub(crate) password_variable: &'static str,
}

impl<'a> Source<'a> {
    pub(crate) fn of_store(global: &'a Global) -> Source<'a> {
        Source {
            option: "--store",
            url: global.store.as_deref(),
            url_variable: "MPS_STORE",
            password_option: "--password-file",
            password_file: global.password_file.as_deref(),
            password_variable: "MPS_PASSWORD",
        }
    }

    pub(crate) fn of_target(copy: &'a Copy) -> Source<'a> {
        Source {
            option: "--to",
            url: copy.to.as_deref(),
            url_variable: "MPS_TO",
            password_option: "--to-password-file",
            password_file: copy.to_password_file.as_deref(),
            password_variable: "MPS_TO_PASSWORD",
        }
    }

    /// Returns the URL with the password in it.
    pub(crate) fn url(&self) -> Result<String, Failure> {
        let (option, variable) = (self.option, self.url_variable);
        let url = match self.url {
            Some(url) if has_password(url) => {
                return Err(Failure::Usage(format!(
                    "the URL of {option} has a password, and every user of this machine can read command lines; \
                     leave the password out, and give it with {} or {}",
                    self.password_option, self.password_variable
                )));
            }
            Some(url) if query_has_password(url) => {
                return Err(Failure::Usage(format!(
                    "the query of the URL of {option} has a password, and every user of this machine can read command \
                     lines; set the variable {variable} to this URL instead"
                )));
            }
            Some(url) => url.to_owned(),
            None => text_of(variable)?.ok_or_else(|| {
                Failure::Usage(format!("no store is given; add {option} URL, or set the variable {variable}"))
            })?,
        };
        match self.password()? {
            None => Ok(url),
            Some(_) if has_password(&url) => Err(Failure::Usage(format!(
                "the URL in {variable} has a password already; leave it out there, or do not give {} and {}",
                self.password_option, self.password_variable
            ))),
            Some(password) => match with_password(&url, &password) {
                Some(url) => Ok(url),
                // The variable may be there for other commands.
                None if self.password_file.is_none() => Ok(url),
                None => {
                    let password_option = self.password_option;
                    let text = format!("{password_option}: a store of the kind that {option} names has no password");
                    Err(Failure::Usage(text))
                }
            },
        }
    }

    fn password(&self) -> Result<Option<String>, Failure> {
        let Some(file) = self.password_file else { return text_of(self.password_variable) };
        let (option, file_name) = (self.password_option, file.display());
        let text = fs::read_to_string(file)
            .map_err(|error| Failure::Usage(format!("{option}: {file_name} cannot be read: {error}")))?;
        let password = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
        if password.is_empty() || password.contains('\n') {
            return Err(Failure::Usage(format!("{option}: {file_name} has to hold one line, the password")));
        }
        Ok(Some(password.to_owned()))
    }
}

/// Returns whether an argument may hold a password, whatever the argument is meant to be.
pub(crate) fn may_have_password(argument: &OsStr) -> bool {
    let text = percent_decoded(&argument.to_string_lossy()).to_lowercase();
    text.contains("://") && (text.contains('@') || PASSWORDS.iter().any(|name| text.contains(&format!("{name}="))))
}

/// Returns the value of a variable. An empty one counts as not set.
fn text_of(variable: &str) -> Result<Option<String>, Failure> {
    match env::var(variable) {
        Ok(text) => Ok(Some(text).filter(|text| !text.is_empty())),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => {
            Err(Failure::Usage(format!("the variable {variable} holds bytes that are not UTF-8")))
        }
    }
}

/// Returns the file of a SQLite URL.
pub(crate) fn sqlite_file(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite://")?;
    Some(path.split('?').next().unwrap_or_default().into())
}

fn is_over_unix_socket(url: &str) -> bool {
    url.starts_with("redis+unix:")
}

/// Splits a URL into its beginning with `://`, the login before the `@`, and the rest.
fn split(url: &str) -> Option<(&str, Option<&str>, &str)> {
    let (start, rest) = url.split_at(url.find("://")? + 3);
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    match authority.rfind('@') {
        Some(at) => Some((start, Some(&rest[..at]), &rest[at + 1..])),
        None => Some((start, None, rest)),
    }
}

/// Returns whether the query of a URL has a password of any kind, whatever the kind of the store is.
fn query_has_password(url: &str) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query.split(['&', '?', '#']).filter_map(|part| part.split_once('=')).any(|(name, value)| {
        let name = percent_decoded(name).to_lowercase();
        !value.is_empty() && PASSWORDS.contains(&&*name)
    })
}

/// Returns whether a URL has the password of the store, even one with a `/` that should be percent-encoded.
fn has_password(url: &str) -> bool {
    if url.starts_with("sqlite:") {
        return false;
    }
    if is_over_unix_socket(url) {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let mut parts = query.split('&').filter_map(|part| part.split_once('='));
        return parts.any(|(name, password)| percent_decoded(name) == "pass" && !password.is_empty());
    }
    let before_query = url.split_once("://").map_or(url, |(_, rest)| rest).split(['?', '#']).next().unwrap_or_default();
    let login = before_query.rfind('@').map_or("", |at| &before_query[..at]);
    login.split_once(':').is_some_and(|(_, password)| !password.is_empty())
}

/// Puts a password into a URL that has none. Returns `None` for a store that takes none.
fn with_password(url: &str, password: &str) -> Option<String> {
    let password = percent_encoded(password);
    if is_over_unix_socket(url) {
        let separator = if url.contains('?') { '&' } else { '?' };
        return Some(format!("{url}{separator}pass={password}"));
    }
    if !url.starts_with("redis") {
        return None;
    }
    let (start, login, rest) = split(url)?;
    let user = login.unwrap_or_default().trim_end_matches(':');
    Some(format!("{start}{user}:{password}@{rest}"))
}

/// Decodes what is percent-encoded. A `%` without two hexadecimal digits stays.
fn percent_decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).filter(|_| *first == b'%').and_then(|two| std::str::from_utf8(two).ok());
        let decoded = digits.filter(|two| !two.starts_with('+')).and_then(|two| u8::from_str_radix(two, 16).ok());
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn percent_encoded(text: &str) -> String {
    let encoded = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encoded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_put_into_each_kind_of_url() {
        for (url, expected) in [
            ("redis://host", "redis://:p%40%2F%20%25w@host"),
            ("redis://host:1/3?max_lifetime=9", "redis://:p%40%2F%20%25w@host:1/3?max_lifetime=9"),
            ("rediss://ada@host", "rediss://ada:p%40%2F%20%25w@host"),
            ("redis://ada:@host", "redis://ada:p%40%2F%20%25w@host"),
            ("redis-cluster://ada@a:1,b:2", "redis-cluster://ada:p%40%2F%20%25w@a:1,b:2"),
            ("redis-sentinel://a:1,b:2/0?x=1#name", "redis-sentinel://:p%40%2F%20%25w@a:1,b:2/0?x=1#name"),
            ("redis+unix:///a/b", "redis+unix:///a/b?pass=p%40%2F%20%25w"),
            ("redis+unix:///a/b?user=ada", "redis+unix:///a/b?user=ada&pass=p%40%2F%20%25w"),
        ] {
            assert!(!has_password(url), "{url}");
            assert_eq!(with_password(url, "p@/ %w").as_deref(), Some(expected));
            assert!(has_password(expected), "{expected}");
        }
        for url in ["sqlite:///a/b", "memory:", "redis:host"] {
            assert_eq!(with_password(url, "p"), None, "{url}");
        }
    }

    #[test]
    fn a_password_in_the_query_is_seen() {
        for query in ["pass=x", "password=x", "sentinel_pass=x", "p%61ss=x", "user=a&PASS=x", "a#b?pass=x", "%70ass=x"]
        {
            for url in ["redis://host", "rediss://ada@host/1", "redis+unix:///a", "redis-sentinel://a:1", "sqlite:///a"]
            {
                let url = format!("{url}?{query}");
                assert!(query_has_password(&url) && may_have_password(url.as_ref()), "{url}");
            }
        }
        for url in ["redis://host?user=pass", "redis+unix:///a?pass=", "sqlite:///pass=x", "redis://host?bypass=1"] {
            assert!(!query_has_password(url), "{url}");
        }
        assert_eq!(percent_decoded("a%2fb%%+1%e9%4"), "a/b%%+1\u{fffd}%4");
    }

    #[test]
    fn a_password_is_seen_even_where_it_is_not_encoded() {
        for url in ["redis://:a/b@host", "redis:x:y@host", "redis://a:b@c@d", "redis+unix:///a?p%61ss=x"] {
            assert!(has_password(url), "{url}");
        }
        for url in ["sqlite:///a@b/c:d", "redis+unix:///a@b?user=x", "redis://ada@host", "redis://[::1]:1/2"] {
            assert!(!has_password(url), "{url}");
        }
    }
}
