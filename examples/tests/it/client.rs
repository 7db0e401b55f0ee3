//! An HTTP client with a cookie jar, for the examples.

use crate::support::wait::PATIENCE;

/// A browser, as far as cookies go. It does not follow redirects by itself.
pub struct Client {
    agent: ureq::Agent,
    url: String,
    /// Whether every page belongs to one visitor, not only a page that gives a cookie.
    all_personal: bool,
}

impl Client {
    /// `kept`: how many connections it keeps open for its next requests.
    pub fn new(url: &str, user_agent: &str, kept: usize) -> Client {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(kept)
            .user_agent(user_agent)
            .proxy(None)
            .timeout_global(Some(PATIENCE));
        Client { agent: config.build().new_agent(), url: url.to_owned(), all_personal: true }
    }

    /// A client for an example that tells caches only what the library adds.
    pub fn of_plain_pages(url: &str) -> Client {
        Client { all_personal: false, ..Client::new(url, "Firefox", 3) }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.try_get(path).expect("an answer")
    }

    /// Like `get`, for a server that may end in the middle of the answer.
    pub fn try_get(&self, path: &str) -> Result<Answer, ureq::Error> {
        answer(self.agent.get(self.at(path)).call(), self.all_personal)
    }

    /// Sends a `Cookie` header of its own.
    pub fn get_with_cookie(&self, path: &str, cookie: &str) -> Answer {
        answer(self.agent.get(self.at(path)).header("Cookie", cookie).call(), self.all_personal).expect("an answer")
    }

    pub fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        answer(self.agent.post(self.at(path)).send_form(form.iter().copied()), self.all_personal).expect("an answer")
    }

    pub fn put(&self, path: &str) -> Answer {
        answer(self.agent.put(self.at(path)).send_empty(), self.all_personal).expect("an answer")
    }

    pub fn delete(&self, path: &str) -> Answer {
        answer(self.agent.delete(self.at(path)).call(), self.all_personal).expect("an answer")
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The `Cookie` header that it sends.
    pub fn cookie(&self) -> Option<String> {
        let jar = self.agent.cookie_jar_lock();
        let mut cookies = jar.iter();
        let cookie = cookies.next().map(|cookie| format!("{}={}", cookie.name(), cookie.value()));
        assert_eq!(cookies.count(), 0, "a site has one cookie");
        cookie
    }

    /// Puts a cookie into its jar.
    pub fn plant(&self, cookie: &str) {
        let url = self.url.parse().expect("a URL");
        let cookie = ureq::Cookie::parse(cookie.to_owned(), &url).expect("a cookie");
        self.agent.cookie_jar_lock().insert(cookie, &url).expect("it fits the site");
    }
}

fn answer(
    response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    is_personal: bool,
) -> Result<Answer, ureq::Error> {
    let mut response = response?;
    let body = response.body_mut().read_to_string()?;
    let headers = response.headers();
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_str().expect("ASCII").to_owned()));
    let answer = Answer { status: response.status().as_u16(), headers: headers.collect(), body };
    if is_personal || answer.set_cookie().is_some() {
        let cached = answer.header("cache-control");
        assert!(cached.is_some_and(|value| value.contains("no-store")), "no cache may keep this: {answer:?}");
    }
    if is_personal && answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
        for part in [r#"<html lang="en">"#, r#"<meta name="viewport" "#, "<title>", "<main>", "<h1>"] {
            assert_eq!(answer.body.matches(part).count(), 1, "{part}: {answer:?}");
        }
    }
    Ok(answer)
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// The value of a header, whose name is in small letters here.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub fn set_cookie(&self) -> Option<&str> {
        self.header("set-cookie")
    }

    /// Fails if the status is another one. Returns the body.
    #[track_caller]
    pub fn expect(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{}", self.body);
        &self.body
    }
}
