//! The closure form: one call that loads a session, runs a handler and saves the session.

use crate::cookie_header::CookieHeader;
use crate::error::Error;
use crate::manager::SessionManager;
use crate::session::Session;

/// What [`SessionManager::handle`] gives: the parts of a response.
#[derive(Debug)]
#[must_use = "the client gets its cookie only as a header of the response"]
pub struct Handled<T> {
    /// The status of the response: 200, or that of the [error](Error::http_status).
    pub status: u16,
    /// The headers that the response needs: `Set-Cookie` if a cookie is due, and `Cache-Control: no-store` with a
    /// cookie or an error.
    pub headers: Vec<(String, String)>,
    /// What the handler gave, or why the session could not be loaded or saved.
    pub result: Result<T, Error>,
}

impl SessionManager {
    /// Loads the session of a request, runs a handler on it and saves it.
    ///
    /// This is for applications that turn every error into the same kind of response. Otherwise, call
    /// [`load`](SessionManager::load) and [`save_into`](Session::save_into).
    ///
    /// If the handler gives an error, nothing is saved. Return an error of your application inside `T`, for instance
    /// with `T = Result<Page, MyError>`. The handler should not call [`save`](Session::save): the cookie would be lost.
    ///
    /// # Examples
    /// ```
    /// # use multi_process_session::{Secret, SessionManager};
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// # let cookie_header = None;
    /// let handled = manager.handle(cookie_header, |session| {
    ///     session.increment("visits", 1)?;
    ///     Ok(format!("{} visits", session.get::<u64>("visits")?.unwrap_or(0)))
    /// });
    /// assert_eq!(handled.status, 200);
    /// assert_eq!(handled.headers[0].0, "Set-Cookie");
    /// let body = handled.result.unwrap_or_else(|error| error.to_string());
    /// assert_eq!(body, "1 visits");
    /// # Ok::<(), multi_process_session::ConfigError>(())
    /// ```
    pub fn handle<T>(
        &self,
        cookie_header: impl CookieHeader,
        handler: impl FnOnce(&mut Session) -> Result<T, Error>,
    ) -> Handled<T> {
        let mut headers = Vec::new();
        let result = self.load(cookie_header).and_then(|mut session| {
            let result = handler(&mut session).inspect_err(|_| session.give_up())?;
            session.save_into(&mut headers)?;
            Ok(result)
        });
        let status = result.as_ref().map_or_else(Error::http_status, |_| 200);
        if result.is_err() {
            headers.push(("Cache-Control".to_owned(), "no-store".to_owned()));
        }
        Handled { status, headers, result }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn a_handled_request_has_a_status_and_headers() {
        let manager = SessionManager::builder(Secret::generate().unwrap()).store_url("memory:").build().unwrap();
        let visit = |cookie: Option<&str>| {
            manager.handle(cookie, |session| {
                session.increment("visits", 1)?;
                session.get::<u64>("visits")
            })
        };
        let first = visit(None);
        assert_eq!((first.status, first.result.unwrap()), (200, Some(1)));
        let [(set_cookie, cookie), (cache_control, no_store)] = &first.headers[..] else { panic!("two headers") };
        assert_eq!((&**set_cookie, &**cache_control, &**no_store), ("Set-Cookie", "Cache-Control", "no-store"));
        let pair = cookie.split(';').next().unwrap();
        assert_eq!(visit(Some(pair)).result.unwrap(), Some(2));

        // The handler fails: nothing is saved.
        let failed = manager.handle(pair, |session| {
            session.set("visits", "many")?;
            session.get::<u64>("visits")
        });
        assert!(matches!(failed.result, Err(Error::Decode { .. })));
        assert_eq!((failed.status, failed.headers), (500, vec![(cache_control.clone(), no_store.clone())]));
        assert_eq!(visit(Some(pair)).result.unwrap(), Some(3));

        // The session ends while the handler runs.
        let ended = manager.handle(pair, |session| {
            let _removal = manager.destroy(pair)?;
            session.increment("visits", 1)
        });
        assert!(matches!(ended.result, Err(Error::Gone)));
        assert_eq!((ended.status, ended.headers.len()), (409, 1));
    }
}
