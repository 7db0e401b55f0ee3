//! A browser's cookie jar by the letter of RFC 6265bis: sections 5.1 (matching), 5.6 (parsing), 5.7 (storing) and 5.8
//! (sending). Without `Expires`, which the library does not write.

/// A URL that a browser asks for.
#[derive(Clone, Copy, Debug)]
pub struct Url<'a> {
    pub secure: bool,
    pub host: &'a str,
    pub path: &'a str,
}

impl Url<'_> {
    pub fn new(text: &str) -> Url<'_> {
        let (scheme, rest) = text.split_once("://").expect("a URL with a scheme");
        let slash = rest.find('/').expect("a URL with a path");
        Url { secure: scheme == "https", host: &rest[..slash], path: &rest[slash..] }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Cookie {
    pub name: Vec<u8>,
    pub value: Vec<u8>,
    pub domain: String,
    pub host_only: bool,
    pub path: String,
    pub secure: bool,
    pub http_only: bool,
    pub same_site: Option<String>,
    pub partitioned: bool,
    /// In seconds, or `None` if the cookie goes when the browser is closed.
    pub max_age: Option<i64>,
}

impl Cookie {
    /// A new cookie replaces an old one with the same place.
    fn place(&self) -> (&[u8], &str, bool, &str, bool) {
        (&self.name, &self.domain, self.host_only, &self.path, self.partitioned)
    }
}

/// The cookies of one user, oldest first.
#[derive(Debug, Default)]
pub struct Jar {
    pub cookies: Vec<Cookie>,
}

impl Jar {
    /// Takes a `Set-Cookie` header of an answer from this URL. Returns whether the cookie was accepted.
    pub fn set(&mut self, url: &str, header: impl AsRef<[u8]>) -> bool {
        let url = Url::new(url);
        let Some(cookie) = parse(&url, header.as_ref()).filter(|cookie| self.may_store(&url, cookie)) else {
            return false;
        };
        let old = self.cookies.iter().position(|old| old.place() == cookie.place());
        match (old, cookie.max_age.is_some_and(|seconds| seconds <= 0)) {
            (Some(old), true) => drop(self.cookies.remove(old)),
            (Some(old), false) => self.cookies[old] = cookie,
            (None, true) => {}
            (None, false) => self.cookies.push(cookie),
        }
        true
    }

    /// The `Cookie` header of a request to this URL, from a page of the same site.
    pub fn header(&self, url: &str) -> Vec<u8> {
        let url = Url::new(url);
        let fits = |cookie: &&Cookie| {
            let host_fits = if cookie.host_only { cookie.domain == url.host } else { is_in(url.host, &cookie.domain) };
            host_fits && path_matches(url.path, &cookie.path) && (url.secure || !cookie.secure)
        };
        let mut sent: Vec<&Cookie> = self.cookies.iter().filter(fits).collect();
        sent.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs = sent.iter().map(|cookie| match &cookie.name[..] {
            b"" => cookie.value.clone(),
            name => [name, b"=", &cookie.value].concat(),
        });
        pairs.collect::<Vec<_>>().join(&b"; "[..])
    }

    /// The rest of section 5.7: whether a cookie that can be read may be stored.
    fn may_store(&self, url: &Url<'_>, cookie: &Cookie) -> bool {
        let named = |prefix: &str| starts_with(&cookie.name, prefix);
        let is_host_prefixed = named("__Host-") || named("__Host-Http-");
        let is_http_prefixed = named("__Http-") || named("__Host-Http-");
        let hides_a_secure_one = !url.secure
            && !cookie.secure
            && self.cookies.iter().any(|old| {
                old.secure
                    && old.name == cookie.name
                    && (is_in(&old.domain, &cookie.domain) || is_in(&cookie.domain, &old.domain))
                    && path_matches(&cookie.path, &old.path)
            });
        let prefixes = ["__Secure-", "__Host-", "__Http-", "__Host-Http-"];
        let is_disguised = cookie.name.is_empty() && prefixes.iter().any(|prefix| starts_with(&cookie.value, prefix));
        (!cookie.secure || url.secure)
            && !hides_a_secure_one
            && !is_disguised
            && (cookie.same_site.as_deref() != Some("none") || cookie.secure)
            && (!cookie.partitioned || cookie.secure)
            && (!named("__Secure-") || cookie.secure)
            && (!is_host_prefixed || (cookie.secure && cookie.host_only && cookie.path == "/"))
            && (!is_http_prefixed || (cookie.secure && cookie.http_only))
    }
}

/// Section 5.6. Returns `None` if the header is ignored.
fn parse(url: &Url<'_>, header: &[u8]) -> Option<Cookie> {
    if header.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return None;
    }
    let mut parts = header.split(|byte| *byte == b';');
    let pair = parts.next().unwrap_or_default();
    let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => (trim(&pair[..at]), trim(&pair[at + 1..])),
        None => (&b""[..], trim(pair)),
    };
    if name.len() + value.len() > 4096 || (name.is_empty() && value.is_empty()) {
        return None;
    }
    let mut cookie = Cookie {
        name: name.to_vec(),
        value: value.to_vec(),
        domain: String::new(),
        host_only: false,
        path: default_path(url.path).to_owned(),
        secure: false,
        http_only: false,
        same_site: None,
        partitioned: false,
        max_age: None,
    };
    for part in parts {
        let equals = part.iter().position(|byte| *byte == b'=').unwrap_or(part.len());
        let name = trim(&part[..equals]).to_ascii_lowercase();
        let value = String::from_utf8_lossy(trim(part.get(equals + 1..).unwrap_or_default()));
        if value.len() > 1024 {
            continue;
        }
        match &name[..] {
            b"max-age" => cookie.max_age = seconds(&value).or(cookie.max_age),
            b"domain" => cookie.domain = value.strip_prefix('.').unwrap_or(&value).to_ascii_lowercase(),
            b"path" if value.starts_with('/') => cookie.path = value.into_owned(),
            b"path" => cookie.path = default_path(url.path).to_owned(),
            b"secure" => cookie.secure = true,
            b"httponly" => cookie.http_only = true,
            b"partitioned" => cookie.partitioned = true,
            b"samesite" => cookie.same_site = Some(value.to_ascii_lowercase()),
            _ => {}
        }
    }
    // A single label stands for all public suffixes.
    if !cookie.domain.is_empty() && !cookie.domain.contains('.') {
        if cookie.domain != url.host {
            return None;
        }
        cookie.domain.clear();
    }
    if cookie.domain.is_empty() {
        (cookie.domain, cookie.host_only) = (url.host.to_owned(), true);
    }
    is_in(url.host, &cookie.domain).then_some(cookie)
}

/// A `Max-Age`: digits, perhaps with a minus sign before them.
fn seconds(value: &str) -> Option<i64> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| value.parse().unwrap_or(if value.starts_with('-') { i64::MIN } else { i64::MAX }))
}

/// Section 5.1.3: the domain is the host, or some of its last labels. An IP address has no labels.
fn is_in(host: &str, domain: &str) -> bool {
    let is_below = |rest: &str| rest.ends_with('.') && !host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    host == domain || host.strip_suffix(domain).is_some_and(is_below)
}

/// Section 5.1.4.
fn path_matches(request: &str, cookie: &str) -> bool {
    request.strip_prefix(cookie).is_some_and(|rest| rest.is_empty() || cookie.ends_with('/') || rest.starts_with('/'))
}

fn default_path(request: &str) -> &str {
    match request.rfind('/') {
        None | Some(0) => "/",
        Some(last) => &request[..last],
    }
}

fn starts_with(text: &[u8], prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

fn trim(text: &[u8]) -> &[u8] {
    let mut text = text;
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
