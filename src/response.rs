//! The ways in which a cookie gets into the response to a request.

use crate::cookie::SetCookie;
use crate::error::Error;
use crate::session::Session;
use sealed::AddHeader;
use std::borrow::Cow;

/// A response, or a list of headers, to which [`SetCookie::add_to`] adds a cookie.
///
/// | type | from |
/// |---|---|
/// | `tiny_http::Response` | feature `tiny_http` |
/// | `http::Response`, `http::HeaderMap` | feature `http` |
/// | `Vec<(Cow<'static, str>, Cow<'static, str>)>` | `rouille`: the field `headers` of its `Response` |
/// | `Vec<(String, String)>` | your own list of headers |
///
/// For other servers, [`SetCookie::headers`] gives the names and values.
///
/// Only this library implements this trait.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a response that a cookie can be added to",
    note = "the features `tiny_http` and `http` allow the responses of these crates",
    note = "for other servers, there is `SetCookie::headers`"
)]
pub trait ResponseHeaders: AddHeader {}

impl<T: AddHeader> ResponseHeaders for T {}

mod sealed {
    /// What a [`ResponseHeaders`](super::ResponseHeaders) can do.
    pub trait AddHeader {
        /// Adds a header, beside others of this name. Both the name and the value are visible ASCII and spaces.
        fn add_header(&mut self, name: &'static str, value: &str);
    }
}

impl AddHeader for Vec<(Cow<'static, str>, Cow<'static, str>)> {
    fn add_header(&mut self, name: &'static str, value: &str) {
        self.push((name.into(), value.to_owned().into()));
    }
}

impl AddHeader for Vec<(String, String)> {
    fn add_header(&mut self, name: &'static str, value: &str) {
        self.push((name.to_owned(), value.to_owned()));
    }
}

#[cfg(feature = "tiny_http")]
impl<R: std::io::Read> AddHeader for tiny_http::Response<R> {
    fn add_header(&mut self, name: &'static str, value: &str) {
        self.add_header(tiny_http::Header::from_bytes(name, value).expect("a cookie is ASCII"));
    }
}

#[cfg(feature = "http")]
impl AddHeader for http::HeaderMap {
    fn add_header(&mut self, name: &'static str, value: &str) {
        let mut value = http::HeaderValue::from_str(value).expect("a cookie is visible ASCII");
        value.set_sensitive(name == SetCookie::NAME);
        self.append(name, value);
    }
}

#[cfg(feature = "http")]
impl<B> AddHeader for http::Response<B> {
    fn add_header(&mut self, name: &'static str, value: &str) {
        self.headers_mut().add_header(name, value);
    }
}

impl SetCookie {
    /// The name of the header.
    const NAME: &'static str = "Set-Cookie";

    /// Returns the two headers that a response with this cookie needs: `Set-Cookie`, and `Cache-Control: no-store`.
    ///
    /// [`add_to`](SetCookie::add_to) adds them to the responses of some servers.
    ///
    /// # Security
    /// Without `Cache-Control`, a shared cache may keep the response together with its `Set-Cookie`, and give one
    /// user's session to the next (RFC 9111, section 7.3).
    ///
    /// # Examples
    /// ```
    /// # use multi_process_session::{Secret, SessionManager};
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// # let mut session = manager.load(None)?;
    /// # session.set("name", "Ada")?;
    /// let mut head = String::from("HTTP/1.1 200 OK\r\n");
    /// if let Some(set_cookie) = session.save()? {
    ///     for (name, value) in set_cookie.headers() {
    ///         head += &format!("{name}: {value}\r\n");
    ///     }
    /// }
    /// # assert!(head.contains("\r\nSet-Cookie: __Host-sid=") && head.ends_with("\r\nCache-Control: no-store\r\n"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn headers(&self) -> [(&'static str, &str); 2] {
        [(SetCookie::NAME, self.as_str()), ("Cache-Control", "no-store")]
    }

    /// Adds the [two headers](SetCookie::headers) of this cookie to a response.
    ///
    /// A response that has a `Cache-Control` header already gets a second one. Of the two, caches obey the stricter.
    pub fn add_to(&self, response: &mut impl ResponseHeaders) {
        for (name, value) in self.headers() {
            response.add_header(name, value);
        }
    }
}

impl Session {
    /// [Saves](Session::save) the session, and adds the cookie to a response if one is due, together with
    /// `Cache-Control: no-store`.
    ///
    /// [`ResponseHeaders`] lists the responses that it can be added to.
    ///
    /// # Errors
    /// Those of [`save`](Session::save). Then the response is as it was. Do not send it: it may tell the client of
    /// changes that are not saved.
    ///
    /// # Examples
    /// ```
    /// # use multi_process_session::{Secret, SessionManager};
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// # let mut session = manager.load(None)?;
    /// session.set("name", "Ada")?;
    /// let mut headers: Vec<(String, String)> = Vec::new();
    /// session.save_into(&mut headers)?;
    /// assert_eq!(headers[0].0, "Set-Cookie");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn save_into(&mut self, response: &mut impl ResponseHeaders) -> Result<(), Error> {
        if let Some(set_cookie) = self.save()? {
            set_cookie.add_to(response);
        }
        Ok(())
    }
}

#[cfg(feature = "tiny_http")]
impl From<SetCookie> for tiny_http::Header {
    fn from(cookie: SetCookie) -> tiny_http::Header {
        tiny_http::Header::from_bytes(SetCookie::NAME, cookie.as_str()).expect("a cookie is ASCII")
    }
}

#[cfg(feature = "http")]
impl From<SetCookie> for http::HeaderValue {
    fn from(cookie: SetCookie) -> http::HeaderValue {
        let mut value = http::HeaderValue::try_from(String::from(cookie)).expect("a cookie is visible ASCII");
        value.set_sensitive(true);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::SessionManager;
    use crate::secret::Secret;

    fn manager() -> SessionManager {
        SessionManager::builder(Secret::generate().unwrap()).store_url("memory:").build().unwrap()
    }

    fn changed_session(manager: &SessionManager) -> Session {
        let mut session = manager.load(None).unwrap();
        session.set("name", "Ada").unwrap();
        session
    }

    /// Saves sessions into a response, and checks its headers. `headers` gives those of our two names, in lower case.
    fn check<R: ResponseHeaders>(mut response: R, headers: impl Fn(&R) -> Vec<(String, String)>) {
        let manager = manager();
        let mut session = changed_session(&manager);
        session.save_into(&mut response).unwrap();
        session.save_into(&mut response).unwrap();
        let cookie = headers(&response).into_iter().find(|(name, _)| name == "set-cookie").unwrap().1;
        let pair = cookie.split(';').next().unwrap();
        assert!(!manager.load(pair).unwrap().is_new());
        let removal = manager.destroy(pair).unwrap();
        removal.add_to(&mut response);
        // The session has ended, so the response gets nothing.
        session.set("name", "Grace").unwrap();
        assert!(matches!(session.save_into(&mut response), Err(Error::Gone)));

        let headers = headers(&response);
        let values = |name: &str| -> Vec<&str> {
            headers.iter().filter(|header| header.0 == name).map(|header| header.1.as_str()).collect()
        };
        assert_eq!(values("set-cookie"), [cookie.as_str(), removal.as_str()]);
        assert_eq!(values("cache-control"), ["no-store"; 2]);
    }

    fn lower_case(name: impl ToString) -> String {
        name.to_string().to_ascii_lowercase()
    }

    #[test]
    fn a_cookie_goes_into_lists_of_headers() {
        check(Vec::<(String, String)>::new(), |headers| {
            headers.iter().map(|(name, value)| (lower_case(name), value.clone())).collect()
        });
        check(Vec::<(Cow<'static, str>, Cow<'static, str>)>::new(), |headers| {
            headers.iter().map(|(name, value)| (lower_case(name), value.to_string())).collect()
        });
    }

    #[cfg(feature = "tiny_http")]
    #[test]
    fn a_cookie_goes_into_a_response_of_tiny_http() {
        check(tiny_http::Response::from_string(""), |response| {
            response.headers().iter().map(|header| (lower_case(&header.field), header.value.to_string())).collect()
        });
        let cookie = changed_session(&manager()).save().unwrap().unwrap();
        let response = tiny_http::Response::from_string("").with_header(cookie.clone());
        let header = response.headers().iter().find(|header| header.field.equiv("Set-Cookie")).unwrap();
        assert_eq!(header.value.as_str(), cookie.as_str());
    }

    #[cfg(feature = "http")]
    #[test]
    fn a_cookie_goes_into_a_response_of_http() {
        fn pairs(headers: &http::HeaderMap) -> Vec<(String, String)> {
            headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
        }
        check(http::HeaderMap::new(), pairs);
        check(http::Response::new(()), |response| pairs(response.headers()));
        let mut response = http::Response::new(());
        let cookie = changed_session(&manager()).save().unwrap().unwrap();
        cookie.add_to(&mut response);
        let value = http::HeaderValue::from(cookie.clone());
        assert_eq!(value, cookie.as_str());
        assert!(!format!("{response:?}{value:?}").contains("sid="), "a token is not for the log");
    }

    #[test]
    fn a_cookie_is_text_and_bytes() {
        let cookie = changed_session(&manager()).save().unwrap().unwrap();
        assert!(cookie.starts_with("__Host-sid=") && cookie.ends_with("; Max-Age=604860"), "{cookie}");
        let (text, bytes): (&str, &[u8]) = (cookie.as_ref(), cookie.as_ref());
        assert_eq!(text.as_bytes(), bytes);
        assert_eq!(Cow::from(cookie.clone()), cookie.as_str());
        assert_eq!(cookie.split(';').next(), Some(cookie.pair()));
        assert_eq!(manager().destroy(None).unwrap().pair(), "__Host-sid=");
    }
}
