//! The forms in which an application hands over the `Cookie` headers of a request.

use sealed::Headers;
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};

/// The `Cookie` headers of a request, in the form in which the application has them.
///
/// | form | hands over |
/// |---|---|
/// | `&str`, `&String`, `&Cow<str>` | one header |
/// | `Option<&str>` | one header, or none; `None` for a request without cookies |
/// | `&[u8]`, `&Vec<u8>`, `&[u8; N]` | one header, as bytes that need not be UTF-8 |
/// | `&OsStr`, `&OsString` | one header, as a CGI program gets it in `HTTP_COOKIE` |
/// | `&[T]`, `&Vec<T>`, `&[T; N]` | several headers, each in one of the forms above |
/// | `&tiny_http::Request` (feature `tiny_http`) | all `Cookie` headers of the request |
/// | `&http::HeaderMap`, `&http::Request` (feature `http`) | all `Cookie` headers, as bytes |
///
/// From any other server, take the header's text as an `Option<&str>`. If it is an `Option<String>`, call
/// `.as_deref()`.
///
/// Only this library implements this trait.
///
/// # Examples
/// ```
/// # use multi_process_session::{Secret, SessionManager};
/// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
/// manager.load(None)?;
/// manager.load("a=b; c=d")?;
/// manager.load(Some("a=b"))?;
/// let text = String::from("a=b");
/// manager.load(&text)?;
/// let header: Option<String> = None;
/// manager.load(header.as_deref())?;
/// manager.load(b"a=\xff")?;
/// let several: Vec<&str> = vec!["a=b", "c=d"];
/// manager.load(&several)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `Cookie` header",
    label = "expected a reference to text, to bytes or to a request, or an `Option<&str>`",
    note = "`.as_deref()` turns an `Option<String>` into an `Option<&str>`",
    note = "the features `tiny_http` and `http` allow the requests of these crates",
    note = "for several headers, hand over a reference to a list of them"
)]
pub trait CookieHeader: Headers {}

impl<T: Headers + ?Sized> CookieHeader for &T {}

// This is the only `Option` that is a header. So the compiler finds the type of a bare `None`.
impl CookieHeader for Option<&str> {}

mod sealed {
    /// What a [`CookieHeader`](super::CookieHeader) refers to.
    #[diagnostic::on_unimplemented(
        message = "`{Self}` is neither the text of a `Cookie` header nor a request",
        label = "expected a reference to text, to bytes or to a request, or an `Option<&str>`",
        note = "the features `tiny_http` and `http` allow the requests of these crates",
        note = "for several headers, hand over a reference to a list of them"
    )]
    pub trait Headers {
        /// Returns the values of all `Cookie` headers.
        fn cookie_headers(&self) -> impl Iterator<Item = &[u8]>;
    }
}

impl Headers for str {
    fn cookie_headers(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.as_bytes())
    }
}

impl Headers for String {
    fn cookie_headers(&self) -> impl Iterator<Item = &[u8]> {
        self.as_str().cookie_headers()
    }
}

impl Headers for Cow<'_, str> {
    fn cookie_headers(&self) -> impl Iterator<Item = &[u8]> {
        str::cookie_headers(self)
    }
}

impl Headers for Option<&str> {
    fn cookie_headers(&self) -> impl Iterator<Item = &[u8]> {
        self.iter().map(|header| header.as_bytes())
    }
}

impl Headers for [u8] {
    fn cookie_headers(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self)
    }
}

impl Headers for OsStr {
    fn cookie_headers(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.as_encoded_bytes())
    }
}

impl Headers for OsString {
    fn cookie_headers(&self) -> impl Iterator<Item = &[u8]> {
        self.as_os_str().cookie_headers()
    }
}

impl<T: Headers> Headers for [T] {
    fn cookie_headers(&self) -> impl Iterator<Item = &[u8]> {
        self.iter().flat_map(T::cookie_headers)
    }
}

impl<T, const N: usize> Headers for [T; N]
where
    [T]: Headers,
{
    fn cookie_headers(&self) -> impl Iterator<Item = &[u8]> {
        self.as_slice().cookie_headers()
    }
}

impl<T> Headers for Vec<T>
where
    [T]: Headers,
{
    fn cookie_headers(&self) -> impl Iterator<Item = &[u8]> {
        self.as_slice().cookie_headers()
    }
}

#[cfg(feature = "tiny_http")]
impl Headers for tiny_http::Request {
    fn cookie_headers(&self) -> impl Iterator<Item = &[u8]> {
        let headers = self.headers().iter().filter(|header| header.field.equiv("Cookie"));
        headers.map(|header| header.value.as_str().as_bytes())
    }
}

#[cfg(feature = "http")]
impl Headers for http::HeaderMap {
    fn cookie_headers(&self) -> impl Iterator<Item = &[u8]> {
        self.get_all(http::header::COOKIE).iter().map(http::HeaderValue::as_bytes)
    }
}

#[cfg(feature = "http")]
impl<B> Headers for http::Request<B> {
    fn cookie_headers(&self) -> impl Iterator<Item = &[u8]> {
        self.headers().cookie_headers()
    }
}

impl<T: Headers + ?Sized> Headers for &T {
    fn cookie_headers(&self) -> impl Iterator<Item = &[u8]> {
        (**self).cookie_headers()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::manager::SessionManager;
    use crate::secret::Secret;
    use crate::session::Session;

    fn manager() -> SessionManager {
        SessionManager::builder(Secret::generate().unwrap()).store_url("memory:").secure(false).build().unwrap()
    }

    /// Returns the `Cookie` header of a session that is kept.
    fn session(manager: &SessionManager) -> String {
        let mut session = manager.load(None).unwrap();
        session.set("name", "Ada").unwrap();
        session.save().unwrap().unwrap().pair().to_owned()
    }

    #[test]
    fn text_is_taken_as_the_application_has_it() {
        let manager = manager();
        let header = session(&manager);
        let text = header.as_str();
        for loaded in [
            manager.load(text),
            manager.load(Some(text)),
            manager.load(&header),
            manager.load(&Cow::Borrowed(text)),
            manager.load(Some(header.clone()).as_deref()),
        ] {
            assert!(!loaded.unwrap().is_new());
        }
        [text].iter().for_each(|header| assert!(!manager.load(header).unwrap().is_new()));
        [&header].iter().for_each(|header| assert!(!manager.load(header).unwrap().is_new()));
        assert!(manager.load(None).unwrap().is_new() && manager.load("").unwrap().is_new());

        manager.transact(&header, |session| session.increment("count", 1)).unwrap();
        assert_eq!(manager.load(&header).unwrap().get("count").unwrap(), Some(1));
        let removal = manager.destroy(&header).unwrap();
        assert!(removal.as_str().starts_with("sid=;") && manager.load(&header).unwrap().is_new());
        assert_eq!(manager.destroy(None).unwrap(), removal);
    }

    #[test]
    fn bytes_and_lists_of_headers_are_taken() {
        let manager = manager();
        let (one, two) = (session(&manager), session(&manager));
        let is_new = |loaded: Result<Session, Error>| loaded.unwrap().is_new();
        let bytes = [b"a=\xff; ", one.as_bytes()].concat();
        assert!(!is_new(manager.load(&bytes)) && !is_new(manager.load(bytes.as_slice())));
        assert!(is_new(manager.load(b"a=\xff")));
        assert!(!is_new(manager.load(&OsString::from(&one))) && is_new(manager.load(OsStr::new(""))));
        for other in ["a=b", ""] {
            assert!(!is_new(manager.load(&[other, &one])) && !is_new(manager.load(&vec![one.as_str(), other])));
            assert!(!is_new(manager.load(&vec![other.to_owned(), one.clone()])));
            assert!(!is_new(manager.load(&[b"a=\xff", one.as_bytes()])));
            assert!(!is_new(manager.load(&[Some(other), Some(&*one), None])));
        }
        let none: [&str; 0] = [];
        assert!(is_new(manager.load(&none)) && is_new(manager.load(&[&one, &two])), "two sessions are none");
        let _ = manager.destroy(&[&one, "sid=junk", &two]).unwrap();
        assert!(is_new(manager.load(&one)) && is_new(manager.load(&two)));
    }

    #[cfg(feature = "tiny_http")]
    #[test]
    fn a_request_hands_over_all_of_its_cookie_headers() {
        use tiny_http::{Header, Request, TestRequest};
        let manager = manager();
        let (one, two) = (session(&manager), session(&manager));
        let request = |cookies: &[&str]| -> Request {
            let fields = cookies.iter().map(|cookie| Header::from_bytes("cOOKIE", *cookie).unwrap());
            let others = [Header::from_bytes("X-Cookie", two.as_str()).unwrap()];
            fields.chain(others).fold(TestRequest::new(), TestRequest::with_header).into()
        };
        assert!(manager.load(&request(&[])).unwrap().is_new());
        assert!(!manager.load(&request(&["a=b", &one])).unwrap().is_new());
        assert!(!manager.load(&request(&[&one, "a=b"])).unwrap().is_new());
        assert!(manager.load(&request(&[&one, &two])).unwrap().is_new(), "two sessions are none");
        let _ = manager.destroy(&request(&[&one, &two])).unwrap();
        assert!(manager.load(&one).unwrap().is_new() && manager.load(&two).unwrap().is_new());
    }

    #[cfg(feature = "http")]
    #[test]
    fn a_header_map_hands_over_all_of_its_cookie_headers() {
        use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};
        let manager = manager();
        let (one, two) = (session(&manager), session(&manager));
        let map = |cookies: &[&[u8]]| -> HeaderMap {
            let fields = cookies.iter().map(|cookie| (COOKIE, HeaderValue::from_bytes(cookie).unwrap()));
            let other = (HeaderName::from_static("x-cookie"), HeaderValue::from_str(&two).unwrap());
            fields.chain([other]).collect()
        };
        assert!(manager.load(&map(&[])).unwrap().is_new());
        assert!(!manager.load(&map(&[b"a=\xff", one.as_bytes()])).unwrap().is_new());
        let mut request = http::Request::new(());
        *request.headers_mut() = map(&[b"a=b", one.as_bytes()]);
        assert!(!manager.load(&request).unwrap().is_new());
        assert!(!manager.load(&map(&[one.as_bytes(), b"a=\xff"])).unwrap().is_new());
        assert!(!manager.load(&map(&[format!("a=\u{fe}; {one}").as_bytes()])).unwrap().is_new());
        assert!(manager.load(&map(&[one.as_bytes(), two.as_bytes()])).unwrap().is_new(), "two sessions are none");
        let _ = manager.destroy(&map(&[b"\xff", one.as_bytes(), two.as_bytes()])).unwrap();
        assert!(manager.load(&one).unwrap().is_new() && manager.load(&two).unwrap().is_new());
    }
}
