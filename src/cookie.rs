//! Reads `Cookie` headers and writes `Set-Cookie` headers.

use crate::error::ConfigError;
use crate::lifetime::Lifetime;
use cookie::{Cookie, time};
use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::time::{Duration, SystemTime};

/// The longest life of a cookie: RFC 6265bis caps it at 400 days.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// Returns whether a client's cookie has to be renewed because its session lives longer. After a refresh, the cookie
/// stays due until the client sends a renewed one back, because the response with it may never have arrived. No cookie
/// lives for over [`MAX_AGE`], so the cookie of a longer session is renewed a month before its own end.
pub(crate) fn ends_too_early(cookie_ends_at: SystemTime, session_ends_at: SystemTime, now: SystemTime) -> bool {
    cookie_ends_at < session_ends_at.min(now + MAX_AGE - Lifetime::LONGEST_WITHOUT_REFRESH)
}

/// Says when a browser sends the cookie with a request that another site caused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SameSite {
    /// Never, not even when the user follows a link from another site.
    Strict,
    /// Only when the user follows a link.
    ///
    /// This is the default.
    #[default]
    Lax,
    /// Always. This needs `Secure`, and your own protection against cross-site request forgery.
    None,
}

/// The value of a `Set-Cookie` header.
///
/// [`add_to`](SetCookie::add_to) adds it to a response, and [`headers`](SetCookie::headers) gives it to any server,
/// both together with `Cache-Control: no-store`. It can be used as a `&str` or as bytes, and it converts into a
/// `String`, a `Cow<'static, str>`, a `tiny_http::Header` (feature `tiny_http`) and a `http::HeaderValue` (feature
/// `http`). `Debug` shows the cookie's name only.
///
/// # Security
/// The text holds the session's token. Send it to its client, and nowhere else.
#[derive(Clone, PartialEq, Eq)]
#[must_use = "the client gets it only as the Set-Cookie header of the response"]
pub struct SetCookie(String);

impl SetCookie {
    /// Returns the header's value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the cookie's name and its value, `name=value`: what a client sends back in its `Cookie` header. For
    /// tests and clients.
    ///
    /// # Examples
    /// ```
    /// # use multi_process_session::{Secret, SessionManager};
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// let mut session = manager.load(None)?;
    /// session.set("name", "Ada")?;
    /// let set_cookie = session.save()?.expect("a new session has a cookie");
    /// assert!(!manager.load(set_cookie.pair())?.is_new());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn pair(&self) -> &str {
        self.0.split(';').next().unwrap_or_default()
    }
}

impl Deref for SetCookie {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SetCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SetCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SetCookie({}=..)", self.0.split('=').next().unwrap_or_default())
    }
}

impl From<SetCookie> for String {
    fn from(cookie: SetCookie) -> String {
        cookie.0
    }
}

impl From<SetCookie> for Cow<'static, str> {
    fn from(cookie: SetCookie) -> Cow<'static, str> {
        cookie.0.into()
    }
}

impl AsRef<[u8]> for SetCookie {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl AsRef<str> for SetCookie {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The cookie's attributes, as set on the builder.
#[derive(Clone, Debug)]
pub(crate) struct CookieSettings {
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) domain: Option<String>,
    pub(crate) secure: bool,
    pub(crate) http_only: bool,
    pub(crate) same_site: SameSite,
    pub(crate) partitioned: bool,
    pub(crate) persistent: bool,
}

impl CookieSettings {
    /// Checks the settings, and puts a prefix before the name: `__Host-` if its conditions are met, or else `__Secure-`
    /// if its conditions are met.
    ///
    /// The check covers all that the `cookie` crate writes without a check, and all that makes browsers drop a cookie.
    pub(crate) fn checked(mut self) -> Result<CookieSettings, ConfigError> {
        if !(1..=64).contains(&self.name.len()) || !self.name.bytes().all(is_token_byte) {
            return Err(ConfigError::CookieName);
        }
        if !is_path(&self.path) {
            return Err(ConfigError::CookiePath);
        }
        if let Some(domain) = &self.domain {
            check_domain(domain)?;
        }
        if self.same_site == SameSite::None && !self.secure {
            return Err(ConfigError::SameSiteNoneNeedsSecure);
        }
        if self.partitioned && !self.secure {
            return Err(ConfigError::PartitionedNeedsSecure);
        }
        if !self.has_valid_prefix()? && self.secure {
            self.name.insert_str(0, if self.is_host_only() { "__Host-" } else { "__Secure-" });
        }
        Ok(self)
    }

    /// Returns whether the name has a prefix already. Browsers ignore the case of a prefix (RFC 6265bis, section 5.7).
    fn has_valid_prefix(&self) -> Result<bool, ConfigError> {
        let name = self.name.to_ascii_lowercase();
        let host = "Secure, Path=/ and no Domain";
        for (prefix, holds, needs) in [
            ("__host-http-", self.is_host_only() && self.http_only, "HttpOnly, Secure, Path=/ and no Domain"),
            ("__host-", self.is_host_only(), host),
            ("__http-", self.secure && self.http_only, "Secure and HttpOnly"),
            ("__secure-", self.secure, "Secure"),
        ] {
            if name.starts_with(prefix) {
                return if holds { Ok(true) } else { Err(ConfigError::CookiePrefix { prefix, needs }) };
            }
        }
        Ok(false)
    }

    fn is_host_only(&self) -> bool {
        self.secure && self.path == "/" && self.domain.is_none()
    }

    /// Returns the values of all cookies of our name in a `Cookie` header, byte for byte.
    pub(crate) fn values<'h>(&self, header: &'h [u8]) -> impl Iterator<Item = &'h [u8]> {
        header
            .split(|byte| *byte == b';')
            .filter_map(|pair| trim(pair).strip_prefix(self.name.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")))
    }

    /// Makes the cookie that carries this token.
    pub(crate) fn carry(&self, token: String, life: Duration, persistent: bool) -> SetCookie {
        let seconds = life.min(MAX_AGE).as_millis().div_ceil(1000) as i64;
        self.write(token, persistent.then_some(seconds))
    }

    /// Makes the cookie that deletes the session's cookie.
    pub(crate) fn removal(&self) -> SetCookie {
        self.write(String::new(), Some(0))
    }

    fn write(&self, value: String, max_age: Option<i64>) -> SetCookie {
        let mut cookie = Cookie::new(self.name.as_str(), value);
        cookie.set_path(self.path.as_str());
        cookie.set_secure(self.secure);
        cookie.set_http_only(self.http_only);
        cookie.set_partitioned(self.partitioned);
        cookie.set_same_site(match self.same_site {
            SameSite::Strict => cookie::SameSite::Strict,
            SameSite::Lax => cookie::SameSite::Lax,
            SameSite::None => cookie::SameSite::None,
        });
        if let Some(domain) = &self.domain {
            cookie.set_domain(domain.as_str());
        }
        cookie.set_max_age(max_age.map(time::Duration::seconds));
        SetCookie(cookie.to_string())
    }
}

/// Returns whether a cookie's name may contain this byte: it is an HTTP token (RFC 9110, section 5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Returns whether the path of a browser's request can begin with this path. If browsers percent-encode a byte of it,
/// or take a segment out, they never send the cookie.
fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= 1024
        && path.bytes().all(is_path_byte)
        && !path.split('/').any(|segment| {
            let plain = segment.to_ascii_lowercase().replace("%2e", ".");
            plain == "." || plain == ".."
        })
}

/// Returns whether browsers leave this byte of a path as it is. `;` and `,` do not count: the first ends an attribute,
/// and for some readers the second ends a header. The URL standard encodes the other bytes, except `|`, which Chromium
/// encodes, and `\`, which becomes `/`.
fn is_path_byte(byte: u8) -> bool {
    (0x21..0x7f).contains(&byte) && !b"\"#<>?\\^`{|},;".contains(&byte)
}

/// Refuses a text that is not a host name, and a host name that browsers never accept as a domain. A public suffix such
/// as `co.uk` is not recognised, because the list of them changes every week.
fn check_domain(domain: &str) -> Result<(), ConfigError> {
    if domain.contains(':') && domain.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>().is_ok() {
        return Err(ConfigError::CookieDomainDropped { what: "an IP address" });
    }
    if !is_host_name(domain) {
        return Err(ConfigError::CookieDomain);
    }
    // By the URL standard, a host whose last label is a number is an IPv4 address.
    let last = domain.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    if last.bytes().all(|byte| byte.is_ascii_digit())
        || hex.is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        return Err(ConfigError::CookieDomainDropped { what: "an IP address" });
    }
    if last == domain {
        return Err(ConfigError::CookieDomainDropped { what: "a single label, such as localhost or com" });
    }
    Ok(())
}

fn is_host_name(domain: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.len() <= 253 && domain.split('.').all(label)
}

/// Removes the spaces and tabs around a pair. RFC 6265bis lets a server remove nothing else.
fn trim(pair: &[u8]) -> &[u8] {
    let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let start = pair.iter().position(|byte| !blank(byte)).unwrap_or(pair.len());
    let end = pair.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    &pair[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings() -> CookieSettings {
        CookieSettings {
            name: "sid".into(),
            path: "/".into(),
            domain: None,
            secure: true,
            http_only: true,
            same_site: SameSite::Lax,
            partitioned: false,
            persistent: true,
        }
    }

    fn refused(change: impl Fn(&mut CookieSettings)) -> ConfigError {
        let mut settings = settings();
        change(&mut settings);
        settings.checked().expect_err("these settings are to be refused")
    }

    #[test]
    fn the_cookie_is_written_to_the_letter() {
        let cookie = settings().checked().unwrap();
        assert_eq!(
            cookie.carry("TOKEN".into(), Duration::from_millis(60_001), true).as_str(),
            "__Host-sid=TOKEN; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=61"
        );
        assert_eq!(cookie.removal().as_str(), "__Host-sid=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0");
        let other = CookieSettings {
            path: "/app".into(),
            domain: Some("example.com".into()),
            same_site: SameSite::None,
            http_only: false,
            partitioned: true,
            persistent: false,
            ..settings()
        };
        let other = other.checked().unwrap();
        assert_eq!(
            other.carry("TOKEN".into(), MAX_AGE, false).as_str(),
            "__Secure-sid=TOKEN; SameSite=None; Partitioned; Secure; Path=/app; Domain=example.com"
        );
        assert_eq!(
            other.removal().as_str(),
            "__Secure-sid=; SameSite=None; Partitioned; Secure; Path=/app; Domain=example.com; Max-Age=0"
        );
        let plain = CookieSettings { secure: false, same_site: SameSite::Strict, ..settings() }.checked().unwrap();
        assert_eq!(
            plain.carry("TOKEN".into(), MAX_AGE * 2, true).as_str(),
            "sid=TOKEN; HttpOnly; SameSite=Strict; Path=/; Max-Age=34560000"
        );
    }

    #[test]
    fn debug_does_not_show_the_token() {
        let cookie = settings().checked().unwrap().carry("TOKEN".into(), MAX_AGE, true);
        assert_eq!(format!("{cookie:?}"), "SetCookie(__Host-sid=..)");
    }

    #[test]
    fn what_browsers_would_refuse_or_misread_is_refused_at_build_time() {
        for name in ["", "a b", "a;b", "a=b", "a,b", "a\"b", "a\r\nb", "a\0b", "é", &"n".repeat(65)] {
            assert!(matches!(refused(|s| s.name = name.into()), ConfigError::CookieName), "{name:?}");
        }
        for path in ["", "app", "/a\r\nSet-Cookie: x", "/\u{7f}", "/é", &"/".repeat(1025)] {
            assert!(matches!(refused(|s| s.path = path.into()), ConfigError::CookiePath), "{path:?}");
        }
        for byte in " \"#,;<>?\\^`{|}".chars() {
            let path = format!("/a{byte}b");
            assert!(matches!(refused(|s| s.path = path.clone()), ConfigError::CookiePath), "{path}");
        }
        for path in ["/.", "/..", "/a/./b", "/a/../b", "/%2e", "/a/.%2E/b", "/%2e%2E/", "/a/."] {
            assert!(matches!(refused(|s| s.path = path.into()), ConfigError::CookiePath), "{path}");
        }
        for domain in ["", ".a.com", "a.com.", "a..b", "a;b", "a,b", "a\nb", "é.com", "a b", "-a.com", "a:80"] {
            assert!(matches!(refused(|s| s.domain = Some(domain.into())), ConfigError::CookieDomain), "{domain:?}");
        }
        for domain in ["localhost", "com", "127.0.0.1", "1.2.3", "::1", "[2001:db8::1]", "a.0x7f", "a.0X", "10"] {
            assert!(
                matches!(refused(|s| s.domain = Some(domain.into())), ConfigError::CookieDomainDropped { .. }),
                "{domain}"
            );
        }
        let insecure = |s: &mut CookieSettings| s.secure = false;
        assert!(matches!(
            refused(|s| {
                insecure(s);
                s.same_site = SameSite::None
            }),
            ConfigError::SameSiteNoneNeedsSecure
        ));
        assert!(matches!(
            refused(|s| {
                insecure(s);
                s.partitioned = true
            }),
            ConfigError::PartitionedNeedsSecure
        ));
        for name in ["__Host-sid", "__hOST-sid", "__Secure-sid", "__Http-sid", "__Host-Http-sid"] {
            assert!(matches!(
                refused(|s| {
                    insecure(s);
                    s.name = name.into()
                }),
                ConfigError::CookiePrefix { .. }
            ));
        }
        assert!(matches!(
            refused(|s| {
                s.path = "/app".into();
                s.name = "__Host-sid".into()
            }),
            ConfigError::CookiePrefix { .. }
        ));
    }

    #[test]
    fn paths_and_domains_that_browsers_send_back_are_fine() {
        for path in ["/a//b", "/.a/..b/c.", "/%C3%A9/%2f", "/a%zz", "/~!$&'()*+=:@[]-_", "/%2e%2e%2e"] {
            CookieSettings { path: path.into(), ..settings() }.checked().expect(path);
        }
        for domain in ["example.com", "EXAMPLE.com", "1.example.com", "a.0xg", "xn--bcher-kva.example", "co.uk"] {
            CookieSettings { domain: Some(domain.into()), ..settings() }.checked().expect(domain);
        }
    }

    #[test]
    fn the_strictest_prefix_that_holds_is_given() {
        let name = |change: fn(&mut CookieSettings)| {
            let mut settings = settings();
            change(&mut settings);
            settings.checked().unwrap().name
        };
        assert_eq!(name(|_| {}), "__Host-sid");
        assert_eq!(name(|s| s.path = "/app".into()), "__Secure-sid");
        assert_eq!(name(|s| s.domain = Some("example.com".into())), "__Secure-sid");
        assert_eq!(name(|s| s.secure = false), "sid");
    }

    #[test]
    fn a_prefix_that_is_there_already_is_not_doubled() {
        for (name, sent) in [
            ("__Host-sid", "__Host-sid"),
            ("__Secure-sid", "__Secure-sid"),
            ("__http-sid", "__http-sid"),
            ("__Host-Http-sid", "__Host-Http-sid"),
            ("__sid", "__Host-__sid"),
        ] {
            let checked = CookieSettings { name: name.into(), ..settings() }.checked().unwrap();
            assert_eq!(checked.name, sent);
        }
    }

    #[test]
    fn only_exact_names_count_and_only_blanks_are_trimmed() {
        let cookie = CookieSettings { secure: false, ..settings() }.checked().unwrap();
        let values = |header: &'static str| cookie.values(header.as_bytes()).collect::<Vec<_>>();
        assert_eq!(values("sid=a"), [b"a"]);
        assert_eq!(values("x=1; sid=a;\tsid=b \t; Sid=c; sid =d; xsid=e; sidx=f; sid; sid%3Dg"), [b"a", b"b"]);
        assert_eq!(values("sid=\"a\"; sid=; sid==b; sid=\u{a0}c"), [&b"\"a\""[..], b"", b"=b", b"\xc2\xa0c"]);
        assert!(values("").is_empty());
        assert!(values(";;; ;=;").is_empty());
    }

    proptest! {
        /// RFC 6265bis, section 4.1.1: what a well-behaved server sends.
        #[test]
        fn what_is_written_fits_the_rfc(
            name in "[!#$%&'*+.^_`|~a-zA-Z0-9-]{0,66}",
            path in "/?[!$-;=@-Za-z~]{0,20}",
            domain in proptest::option::of("[a-zA-Z0-9-]{0,20}[.][a-zA-Z]{1,9}"),
            secure: bool, http_only: bool, partitioned: bool, persistent: bool,
            same_site in prop_oneof![Just(SameSite::Strict), Just(SameSite::Lax), Just(SameSite::None)],
            token in "[A-Za-z0-9_-]{104}",
            seconds: u32,
        ) {
            let settings =
                CookieSettings { name, path, domain, secure, http_only, same_site, partitioned, persistent };
            let Ok(cookie) = settings.checked() else { return Ok(()) };
            let header = String::from(cookie.carry(token.clone(), Duration::from_secs(seconds.into()), persistent));
            prop_assert!(header.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b','));
            let mut parts = header.split("; ");
            let (name, value) = parts.next().unwrap().split_once('=').unwrap();
            prop_assert!(!name.is_empty() && name.bytes().all(is_token_byte));
            prop_assert_eq!(value, token.as_str());
            let mut seen = Vec::new();
            for part in parts {
                let attribute = part.split('=').next().unwrap();
                prop_assert!(!seen.contains(&attribute), "{} twice", attribute);
                prop_assert!(
                    ["HttpOnly", "SameSite", "Partitioned", "Secure", "Path", "Domain", "Max-Age"].contains(&attribute)
                );
                seen.push(attribute);
            }
            prop_assert_eq!(seen.contains(&"Secure"), secure);
            // What was written is found again when the browser sends it back.
            let back = format!("other=1; {name}={value}");
            prop_assert_eq!(cookie.values(back.as_bytes()).collect::<Vec<_>>(), [token.as_bytes()]);
        }

        #[test]
        fn any_header_is_read_without_a_panic(header: Vec<u8>) {
            let cookie = settings().checked().unwrap();
            for value in cookie.values(&header) {
                prop_assert!(!value.contains(&b';'));
            }
        }
    }
}
