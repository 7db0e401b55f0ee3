//! Cookies in browsers: a model of a browser does what the tables of http-state and of web-platform-tests say, and
//! keeps and sends our cookies as it should.

use crate::support::browser::Jar;
use crate::support::{cookie, secret, session_with};
use multi_process_session::{Refresh, SameSite, SessionManager, SessionManagerBuilder};
use std::time::Duration;

const SITE: &str = "https://example.com/app/page";

/// `Set-Cookie` headers of one answer from `https://example.com/app/page`, and the `Cookie` header of the next request.
const PAIRS: &[(&[&str], &str)] = &[
    // Names and values.
    (&["a=b"], "a=b"),
    (&["a=b", "c=d"], "a=b; c=d"),
    (&["a=b", "a=c"], "a=c"),
    (&["a=b", "c=d", "a=e"], "a=e; c=d"),
    (&["A=b", "a=c"], "A=b; a=c"),
    (&["a="], "a="),
    (&["a=b=c"], "a=b=c"),
    (&["a==b"], "a==b"),
    (&["  a  =  b  "], "a=b"),
    (&["\ta\t=\tb\t"], "a=b"),
    (&["a b=c d"], "a b=c d"),
    (&["a\tb=c\td"], "a\tb=c\td"),
    (&["a=b, c=d"], "a=b, c=d"),
    (&["a,b=c"], "a,b=c"),
    (&["1=b", "$=c", "!#%&'*+-.^_`|~=d"], "1=b; $=c; !#%&'*+-.^_`|~=d"),
    (&["$Version=1; a=b"], "$Version=1"),
    (&["a%3Db=c"], "a%3Db=c"),
    (&["é=ü"], "é=ü"),
    // Quotes are bytes like any other.
    (&["a=\"b\""], "a=\"b\""),
    (&["a=\"b; c\""], "a=\"b"),
    (&["a=\" b \""], "a=\" b \""),
    (&["a=b\"c"], "a=b\"c"),
    (&["\"a\"=b"], "\"a\"=b"),
    (&["a='b'"], "a='b'"),
    (&["a=\\\"b\\\""], "a=\\\"b\\\""),
    // Cookies without a name.
    (&["=b"], "b"),
    (&["b"], "b"),
    (&["=b", "c"], "c"),
    (&["=a=b"], "a=b"),
    (&["a=b", "=c"], "a=b; c"),
    (&["", "=", " ; Path=/", "  =  "], ""),
    (&[";a=b"], ""),
    // A control character anywhere spoils the whole header.
    (&["a=b\0c", "a=\x01", "a\x1f=b", "a=b\x7f", "a=b; Path=/\x08", "a=b\r\nc=d"], ""),
    // Attributes: in any case and any order, with blanks around. The last one counts, and unknown ones do nothing.
    (&["a=b; Path=/app", "c=d; pATH=/"], "a=b; c=d"),
    (&["a=b;Path=/", "c=d ;  Path  =  /  ; "], "a=b; c=d"),
    (&["a=b; Path=/other; Path=/"], "a=b"),
    (&["a=b; Path=/; Path=/other"], ""),
    (&["a=b; Path=other", "c=d; Path=", "e=f; Path", "g=h; Path=\"/\""], "a=b; c=d; e=f; g=h"),
    (&["a=b; Unknown=c; Comment; Version=1; ;;; ="], "a=b"),
    (&["a=b; Secure; HttpOnly", "c=d; HttpOnly=x; SECURE=false"], "a=b; c=d"),
    (&["a=b; SameSite=Lax", "c=d; SameSite=None; Secure", "e=f; SameSite=Unknown"], "a=b; c=d; e=f"),
    (&["a=b; SameSite=None", "c=d; Partitioned"], ""),
    (&["a=b; Max-Age=60", "c=d; Max-Age=x", "e=f; Max-Age=1.5", "g=h; Max-Age="], "a=b; c=d; e=f; g=h"),
    (&["a=b", "a=; Max-Age=0"], ""),
    (&["a=b", "a=c; Max-Age=-1"], ""),
    (&["a=b; Max-Age=-1; Max-Age=60"], "a=b"),
    (&["a=b; Max-Age=60; Max-Age=0"], ""),
    (&["a=b", "a=; Max-Age=0; Path=/"], "a=b"),
    (&["a=b; Max-Age=99999999999999999999999"], "a=b"),
    // Domains: the host or one above it, with or without a dot before it.
    (&["a=b; Domain=example.com", "c=d; Domain=.EXAMPLE.com", "e=f; Domain="], "a=b; c=d; e=f"),
    (&["a=b; Domain=other.com", "c=d; Domain=www.example.com", "e=f; Domain=ample.com", "g=h; Domain=com"], ""),
    (&["a=b; Domain=other.com; Domain=example.com", "c=d; Domain=example.com; Domain=other.com"], "a=b"),
    // Longer paths come first, then older cookies.
    (&["a=1; Path=/", "b=2; Path=/app/page", "c=3; Path=/app"], "b=2; c=3; a=1"),
    (&["a=1; Path=/app", "a=2; Path=/"], "a=1; a=2"),
    (&["a=1; Path=/app", "b=2; Path=/app", "a=3; Path=/app"], "a=3; b=2"),
    (&["a=1; Path=/ap", "b=2; Path=/app/", "c=3; Path=/app/page/", "d=4; Path=/App"], "b=2"),
    // Prefixes, in any case.
    (&["__Secure-a=b; Secure", "__Secure-c=d", "__secure-e=f"], "__Secure-a=b"),
    (&["__Host-a=b; Secure; Path=/"], "__Host-a=b"),
    (&["__Host-a=b; Path=/", "__Host-a=b; Secure", "__HOST-a=b; Secure; Path=/app"], ""),
    (&["__Host-a=b; Secure; Path=/; Domain=example.com"], ""),
    (&["__Http-a=b; Secure; HttpOnly", "__Http-c=d; Secure", "__http-e=f; HttpOnly"], "__Http-a=b"),
    (&["__Host-Http-a=b; Secure; HttpOnly; Path=/", "__Host-Http-c=d; Secure; Path=/"], "__Host-Http-a=b"),
    (&["=__Host-a=b", "__Secure-a", "=__hOsT-a; Secure; Path=/"], ""),
    (&["__Host=b", "Host-a=b", "__Secure=c"], "__Host=b; Host-a=b; __Secure=c"),
];

#[test]
fn the_browser_of_these_tests_does_what_the_tables_say() {
    for (set, sent) in PAIRS {
        let mut jar = Jar::default();
        for header in *set {
            jar.set(SITE, header);
        }
        assert_eq!(String::from_utf8_lossy(&jar.header(SITE)), *sent, "{set:?}");
    }
}

#[test]
fn the_browser_keeps_to_the_limits_of_length() {
    for (name, value, attribute, is_sent) in
        [(96, 4000, 0, true), (97, 4000, 0, false), (0, 4096, 0, true), (1, 1, 1024, false), (1, 1, 1025, true)]
    {
        let mut jar = Jar::default();
        // A path that does not match, unless it is too long to count.
        let path = format!("/{}", "p".repeat(usize::max(attribute, 1) - 1));
        let path = if attribute == 0 { "/" } else { &path };
        jar.set(SITE, format!("{}={}; Path={path}", "n".repeat(name), "v".repeat(value)));
        assert_eq!(!jar.header(SITE).is_empty(), is_sent, "{name} {value} {attribute}");
    }
}

/// The cookie is set by `https://example.com/app/page` with these attributes.
#[test]
fn the_browser_sends_cookies_where_the_tables_say() {
    for (attributes, to, is_sent) in [
        ("", "http://example.com/app", true),
        ("", "https://example.com/app/other", true),
        ("", "https://example.com/", false),
        ("", "https://example.com/application", false),
        ("", "https://www.example.com/app", false),
        ("; Secure", "http://example.com/app", false),
        ("; Path=/", "https://example.com/", true),
        ("; Path=/app/", "https://example.com/app", false),
        ("; Path=/app/", "https://example.com/app/", true),
        ("; Path=/a%20b", "https://example.com/a b", false),
        ("; Path=/; Domain=example.com", "https://www.example.com/", true),
        ("; Path=/; Domain=example.com", "https://badexample.com/", false),
        ("; Path=/; Domain=example.com", "https://com/", false),
    ] {
        let mut jar = Jar::default();
        assert!(jar.set(SITE, format!("a=b{attributes}")));
        assert_eq!(!jar.header(to).is_empty(), is_sent, "{attributes} {to}");
    }
    let mut jar = Jar::default();
    assert!(!jar.set("http://example.com/", "a=b; Secure"), "plain http sets no secure cookie");
    assert!(jar.set("https://example.com/", "a=b; Secure"));
    assert!(!jar.set("http://example.com/", "a=c"), "nor one that hides it");
    assert!(jar.set("http://example.com/", "other=c"));
}

fn builder() -> SessionManagerBuilder {
    SessionManager::builder(secret()).store_url("memory:")
}

/// A manager for each combination of settings of cookies that is possible.
fn managers() -> Vec<(SessionManager, &'static str, Option<&'static str>, bool)> {
    let mut managers = Vec::new();
    for bits in 0..16 {
        let is = |bit: u32| bits >> bit & 1 == 1;
        for same_site in [SameSite::Strict, SameSite::Lax, SameSite::None] {
            for (path, domain) in [
                ("/", None),
                ("/app", None),
                ("/app/", None),
                ("/", Some("example.com")),
                ("/app", Some("EXAMPLE.com")),
                ("/a-b_c.d~!$&'()*+=:@%20[]", None),
            ] {
                let mut builder = builder().path(path).same_site(same_site);
                builder = builder.secure(is(0)).http_only(is(1)).persistent(is(2)).partitioned(is(3));
                if let Some(domain) = domain {
                    builder = builder.domain(domain);
                }
                if let Ok(manager) = builder.build() {
                    managers.push((manager, path, domain, is(0)));
                }
            }
        }
    }
    assert!(managers.len() > 100, "{}", managers.len());
    managers
}

#[test]
fn a_browser_keeps_our_cookie_sends_it_back_where_it_should_and_takes_it_away() {
    for (manager, path, domain, secure) in managers() {
        let mut session = manager.load(None).unwrap();
        session.set("user", "ada").unwrap();
        let set_cookie = session.save().unwrap().unwrap();
        let home = format!("{}://example.com{path}", if secure { "https" } else { "http" });
        let mut jar = Jar::default();
        // Other cookies of the site, which are sent before and after ours.
        jar.set(SITE, "first=\"1; Path=/");
        assert!(jar.set(&home, set_cookie.as_str()), "{set_cookie}");
        jar.set(SITE, "=last; Path=/");
        let loads = |jar: &Jar, url: &str| !manager.load(&[jar.header(url)]).unwrap().is_new();
        for (url, is_sent) in [
            (format!("https://example.com{path}"), true),
            (format!("https://example.com{}/below", path.trim_end_matches('/')), true),
            (format!("http://example.com{path}"), !secure),
            (format!("https://www.example.com{path}"), domain.is_some()),
            ("https://example.com/".to_owned(), path == "/"),
            (format!("https://example.com{path}beside"), path.ends_with('/')),
        ] {
            assert_eq!(loads(&jar, &url), is_sent, "{set_cookie} {url}");
        }
        let removal = manager.destroy(&[jar.header(&home)]).unwrap();
        assert!(jar.set(&home, removal.as_str()), "{removal}");
        assert_eq!(jar.header(&home), b"first=\"1; last", "{removal}");
    }
}

#[test]
fn a_cookie_that_does_not_outlive_the_browser_does_not_whatever_the_timeout() {
    let day = Duration::from_secs(24 * 60 * 60);
    for (persistent, timeout, max_age) in
        [(false, 90 * day, None), (true, 90 * day, Some(90)), (true, 1000 * day, Some(400))]
    {
        let manager = builder().persistent(persistent).refresh(Refresh::EveryLoad);
        let manager = manager.unconfirmed_timeout(1000 * day);
        let manager = manager.build().unwrap();
        let mut session = manager.load(None).unwrap();
        session.set("user", "ada").unwrap();
        session.set_idle_timeout(timeout);
        let mut jar = Jar::default();
        jar.set(SITE, session.save().unwrap().unwrap().as_str());
        let days = jar.cookies[0].max_age.map(|seconds| seconds / 24 / 60 / 60);
        assert_eq!(days, max_age, "{persistent} {timeout:?}");
        // The same after a refresh.
        let set_cookie = manager.load(&[jar.header(SITE)]).unwrap().save().unwrap().unwrap();
        jar.set(SITE, set_cookie.as_str());
        assert_eq!(jar.cookies[0].max_age.map(|seconds| seconds / 24 / 60 / 60), max_age, "{persistent} {timeout:?}");
    }
}

#[test]
fn ours_is_found_at_every_place_among_any_others_and_nothing_else_is_taken_for_it() {
    let managers = [builder().build().unwrap(), builder().path("/app").build().unwrap()];
    for manager in managers.iter().chain([&builder().secure(false).build().unwrap()]) {
        let ours = session_with(manager, &[("user", "ada")]);
        let (name, token) = ours.split_once('=').unwrap();
        let calls = manager.stats().calls;
        let others = PAIRS.iter().flat_map(|(set, sent)| set.iter().chain([sent])).map(|text| text.as_bytes().to_vec());
        let others: Vec<Vec<u8>> = others.chain([b"a=\xff\xfe".to_vec(), b"\xe4=b; \x80".to_vec()]).collect();
        for header in &others {
            assert!(manager.load(&[header]).unwrap().is_new(), "{header:?}");
            // The same cookies under our name.
            let renamed = [name.as_bytes(), b"=", header].concat();
            assert!(manager.load(&[&renamed]).unwrap().is_new(), "{renamed:?}");
        }
        for (before, after) in [
            ("\"", ""),
            ("\"", "\""),
            ("'", "'"),
            ("$", ""),
            ("$Version=1, ", ""),
            ("x,", ""),
            ("=", ""),
            ("%20", ""),
            ("\\", ""),
            ("\u{a0}", ""),
            ("\u{2000}", ""),
            ("\u{feff}", ""),
            ("\x0b", ""),
            ("\x0c", ""),
            ("\0", ""),
            ("\r\n", ""),
            ("", ","),
            ("", "="),
            ("", "%20"),
            ("", "\u{a0}"),
            ("", "\x0b"),
            ("", "\0"),
        ] {
            for odd in [format!("a=1; {before}{ours}{after}"), format!("{name}={before}{token}{after}")] {
                assert!(manager.load(&odd).unwrap().is_new(), "{odd:?}");
            }
            let odd = format!("{name}{before}{after}={token}");
            assert!(before.is_empty() && after.is_empty() || manager.load(&odd).unwrap().is_new(), "{odd:?}");
        }
        assert_eq!(manager.stats().calls, calls, "the store is not asked about any of these");

        for header in &others {
            let pieces: Vec<&[u8]> = header.split(|byte| *byte == b';').collect();
            for place in 0..=pieces.len() {
                let mut pieces = pieces.clone();
                let spaced = format!(" \t{ours}\t ");
                pieces.insert(place, spaced.as_bytes());
                let header = pieces.join(&b';');
                assert!(!manager.load(&[&header]).unwrap().is_new(), "{}", String::from_utf8_lossy(&header));
            }
            assert!(!manager.load(&[header, ours.as_bytes()]).unwrap().is_new(), "in two headers");
            assert!(!manager.load(&[ours.as_bytes(), header]).unwrap().is_new(), "in two headers");
        }
    }
}

/// An attacker who can answer for a page over plain http plants a session, and waits until the user works in it over
/// https.
#[test]
fn nobody_can_plant_our_cookie_over_plain_http_or_from_a_neighbouring_host() {
    for (settings, neighbour_is_out) in
        [(builder(), true), (builder().path("/app"), false), (builder().domain("example.com"), false)]
    {
        let manager = settings.build().unwrap();
        let planted = session_with(&manager, &[("user", "mallory")]);
        let mut jar = Jar::default();
        let (name, token) = planted.split_once('=').unwrap();
        let other_case = format!("{}={token}", name.to_ascii_uppercase());
        for spelling in [planted.clone(), other_case, format!("={planted}")] {
            for attributes in ["", "; Path=/", "; Path=/app", "; Secure; Path=/", "; Path=/; Domain=example.com"] {
                jar.set("http://example.com/app/page", format!("{spelling}{attributes}"));
                jar.set("http://evil.example.com/app/page", format!("{spelling}{attributes}"));
                if neighbour_is_out {
                    let from = "https://evil.example.com/app/page";
                    jar.set(from, format!("{spelling}{attributes}; Secure; Domain=example.com"));
                }
            }
        }
        let header = jar.header(SITE);
        assert!(manager.load(&[&header]).unwrap().is_new(), "{}", String::from_utf8_lossy(&header));
        let mut session = manager.load(None).unwrap();
        session.set("user", "ada").unwrap();
        let set_cookie = session.save().unwrap().unwrap();
        assert!(jar.set(SITE, set_cookie.as_str()));
        let loaded = manager.load(&[jar.header(SITE)]).unwrap();
        assert_eq!(loaded.get::<String>("user").unwrap().as_deref(), Some("ada"), "{}", cookie(&set_cookie));
    }
}
