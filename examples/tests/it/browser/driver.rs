//! A browser without a window. It obeys chromedriver, which takes the commands of WebDriver (W3C) as JSON over HTTP.

use crate::example::Example;
use crate::support::wait::{PATIENCE, until, until_some};
use nix::unistd::getuid;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

const INSTALL: &str = "These tests need Chromium and chromedriver. On Debian: apt-get install chromium chromium-driver";

/// The folder in which a browser keeps its cookies, its cache and its settings.
pub type Profile = Arc<TempDir>;

/// A running browser, with the tab and the frame that its commands go to. It ends when it is dropped.
pub struct Browser {
    client: ureq::Agent,
    session: String,
    _chromedriver: Example,
    /// Deleted after the programs above have ended.
    profile: Profile,
}

/// The kind of a fault, such as "no such element", and a text for people.
type Fault = (String, String);

impl Browser {
    /// Starts a browser with an empty profile.
    pub fn start() -> Browser {
        Browser::with(&Arc::new(tempfile::tempdir().expect("a temporary folder")))
    }

    /// Starts a browser that knows what another one has kept in this profile.
    pub fn with(profile: &Profile) -> Browser {
        if let Err(error) = Command::new("chromedriver").arg("--version").output() {
            panic!("chromedriver does not start: {error}\n{INSTALL}");
        }
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").env("HOME", profile.path());
        let chromedriver = Example::spawn(command);
        let port = until_some(|| {
            let said = chromedriver.stdout();
            Some(said.split_once("started successfully on port ")?.1.split_once('.')?.0.to_owned())
        });
        let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
        let client = config.timeout_global(Some(PATIENCE)).build().new_agent();
        let session = format!("http://127.0.0.1:{port}/session");
        let mut browser = Browser { client, session, _chromedriver: chromedriver, profile: profile.clone() };
        let answer = browser.try_command("POST", "", &capabilities(profile.path()));
        let answer = answer.unwrap_or_else(|(_, message)| panic!("Chromium does not start: {message}\n{INSTALL}"));
        browser.session += &format!("/{}", answer["sessionId"].as_str().expect("an id"));
        browser
    }

    pub fn profile(&self) -> Profile {
        self.profile.clone()
    }

    /// Closes the browser as a user does, so it writes down what it keeps.
    pub fn quit(self) {
        self.command("DELETE", "", &Value::Null);
    }

    // ---- pages ----

    /// Opens a page and waits until it is complete.
    pub fn open(&self, url: &str) {
        self.command("POST", "/url", &json!({ "url": url }));
    }

    /// The address of the page in the tab.
    pub fn url(&self) -> String {
        text(self.command("GET", "/url", &Value::Null))
    }

    /// Goes back in the history of the tab, and waits for the page.
    #[track_caller]
    pub fn back(&self) {
        self.leave(|| drop(self.command("POST", "/back", &json!({}))));
    }

    /// Clicks on what leads to another page, and waits for that page.
    #[track_caller]
    pub fn follow(&self, selector: &str) {
        self.leave(|| self.click(selector));
    }

    /// Does what leads to another page, and waits until that one is complete.
    #[track_caller]
    fn leave(&self, act: impl FnOnce()) {
        // A page that comes back from the browser's memory still has the mark of an earlier call.
        let mark = self.run("return window.mark = Math.random()");
        act();
        let script = "return window.mark !== arguments[0] && document.readyState === 'complete'";
        let has_arrived = json!({ "script": script, "args": [mark] });
        // There is no page between two pages.
        until(|| self.try_command("POST", "/execute/sync", &has_arrived).is_ok_and(|arrived| arrived == true));
    }

    /// Whether the page has such an element now. Selectors are those of CSS.
    pub fn has(&self, selector: &str) -> bool {
        self.count(selector) > 0
    }

    pub fn count(&self, selector: &str) -> usize {
        let found = self.command("POST", "/elements", &json!({ "using": "css selector", "value": selector }));
        found.as_array().expect("a list").len()
    }

    /// Clicks on what stays on the page.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        self.at(selector, |element| self.try_command("POST", &format!("{element}/click"), &json!({})));
    }

    /// Types into a field, in place of what it holds.
    #[track_caller]
    pub fn fill(&self, selector: &str, typed: &str) {
        self.at(selector, |element| {
            self.try_command("POST", &format!("{element}/clear"), &json!({}))?;
            self.try_command("POST", &format!("{element}/value"), &json!({ "text": typed }))
        });
    }

    /// The text of an element, as a user reads it.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        text(self.at(selector, |element| self.try_command("GET", &format!("{element}/text"), &Value::Null)))
    }

    /// What a field holds.
    #[track_caller]
    pub fn value(&self, selector: &str) -> String {
        text(self.at(selector, |element| self.try_command("GET", &format!("{element}/property/value"), &Value::Null)))
    }

    /// Runs a script in the page. Waits for its promise if it gives one.
    pub fn run(&self, script: &str) -> Value {
        self.command("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until an element is there, and does something with it. Starts again if the page changes meanwhile.
    #[track_caller]
    fn at<T>(&self, selector: &str, act: impl Fn(&str) -> Result<T, Fault>) -> T {
        let find = json!({ "using": "css selector", "value": selector });
        until_some(|| {
            let done = self.try_command("POST", "/element", &find).and_then(|found| {
                let ids = found.as_object().expect("a reference");
                let id = ids.values().next().and_then(Value::as_str).expect("an id");
                act(&format!("/element/{id}"))
            });
            match done {
                Ok(done) => Some(done),
                Err((kind, _)) if ["no such element", "stale element reference"].contains(&kind.as_str()) => None,
                Err((kind, message)) => panic!("{selector}: {kind}: {message}"),
            }
        })
    }

    // ---- tabs and frames ----

    /// The tab that commands go to.
    pub fn tab(&self) -> String {
        text(self.command("GET", "/window", &Value::Null))
    }

    /// Opens an empty tab and goes there.
    pub fn open_tab(&self) -> String {
        let tab = text(self.command("POST", "/window/new", &json!({ "type": "tab" }))["handle"].take());
        self.go_to_tab(&tab);
        tab
    }

    pub fn go_to_tab(&self, tab: &str) {
        self.command("POST", "/window", &json!({ "handle": tab }));
    }

    /// Makes the profile as new, and leaves one tab, without a history.
    pub fn forget(&self) {
        let tabs = self.command("GET", "/window/handles", &Value::Null);
        let new = self.open_tab();
        for tab in tabs.as_array().expect("a list") {
            self.go_to_tab(tab.as_str().expect("a tab"));
            self.command("DELETE", "/window", &Value::Null);
        }
        self.go_to_tab(&new);
        self.devtools("Storage.clearCookies", &json!({}));
        self.devtools("Network.clearBrowserCache", &json!({}));
    }

    /// Does something within the first frame of the page.
    pub fn in_frame<T>(&self, act: impl FnOnce() -> T) -> T {
        self.command("POST", "/frame", &json!({ "id": 0 }));
        let done = act();
        self.command("POST", "/frame", &json!({ "id": null }));
        done
    }

    // ---- what only Chromium can do ----

    /// Sends a command of the Chrome DevTools Protocol.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.command("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// All cookies of the profile, whatever page is shown.
    pub fn cookies(&self) -> Vec<Value> {
        match self.devtools("Storage.getCookies", &json!({}))["cookies"].take() {
            Value::Array(cookies) => cookies,
            other => panic!("a list of cookies, not {other}"),
        }
    }

    // ---- the wire ----

    #[track_caller]
    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_command(method, path, body)
            .unwrap_or_else(|(kind, message)| panic!("{method} {path}: {kind}: {message}"))
    }

    fn try_command(&self, method: &str, path: &str, body: &Value) -> Result<Value, Fault> {
        let url = format!("{}{path}", self.session);
        let answer = match method {
            "GET" => self.client.get(url).call(),
            "DELETE" => self.client.delete(url).call(),
            _ => self.client.post(url).send(body.to_string()),
        };
        let answer = answer.and_then(|mut answer| answer.body_mut().with_config().limit(1 << 26).read_to_string());
        let answer = answer.map_err(|error| ("no answer".to_owned(), error.to_string()))?;
        let value = serde_json::from_str::<Value>(&answer).expect("JSON")["value"].take();
        match value["error"].as_str() {
            Some(kind) => Err((kind.to_owned(), text(value["message"].clone()))),
            None => Ok(value),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A browser that is killed would write into its folder while that is deleted.
        let _ = self.try_command("DELETE", "", &Value::Null);
    }
}

fn capabilities(profile: &Path) -> Value {
    let mut arguments = vec![
        "--headless".to_owned(),
        format!("--user-data-dir={}", profile.display()),
        // Every name leads to this machine. So tests can have several sites, and no request leaves it.
        "--host-resolver-rules=MAP * 127.0.0.1".to_owned(),
        "--no-proxy-server".to_owned(),
        // Chromium would ask for https first.
        "--disable-features=HttpsUpgrades,HttpsFirstBalancedMode,HttpsFirstBalancedModeAutoEnable".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--hide-scrollbars".to_owned(),
    ];
    if getuid().is_root() {
        arguments.push("--no-sandbox".to_owned());
    }
    let options = json!({ "args": arguments });
    json!({ "capabilities": { "alwaysMatch": { "acceptInsecureCerts": true, "goog:chromeOptions": options } } })
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => panic!("a text, not {other}"),
    }
}
