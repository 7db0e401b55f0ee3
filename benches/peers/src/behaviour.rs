//! What a server does where requests meet, and where Redis fails. All of it is found by trying.

use crate::http::Browser;
use crate::redis::Redis;
use crate::server::Server;
use std::thread;
use std::time::{Duration, Instant};

/// Sends two requests at once that write different keys of one session. Returns whether both are kept.
pub fn keeps_both_writes(server: &Server) -> Result<bool, String> {
    let mut browser = logged_in(server)?;
    let write = |path| {
        let mut tab = browser.clone();
        move || tab.get(path)
    };
    thread::scope(|scope| {
        let writes = ["/slow/a", "/slow/b"].map(|path| scope.spawn(write(path)));
        writes.map(|write| write.join().expect("it does not panic")).into_iter().collect::<Result<Vec<_>, _>>()
    })?;
    Ok(has(&mut browser, "a")? && has(&mut browser, "b")?)
}

/// Logs out while another request of the session runs and writes. Returns whether the user is logged out after both.
pub fn stays_logged_out(server: &Server) -> Result<bool, String> {
    let mut browser = logged_in(server)?;
    let mut copy = browser.clone();
    let slow = {
        let tab = browser.clone();
        thread::spawn(move || tab.ask("/slow/a", Duration::from_secs(10)))
    };
    thread::sleep(Duration::from_millis(100));
    browser.get("/logout")?;
    let answer = slow.join().expect("it does not panic")?;
    browser.keep_cookie(&answer);
    // The browser's cookie now, and a copy of the one from before the logout.
    Ok(!has(&mut browser, "user")? && !has(&mut copy, "user")?)
}

/// What came of a request.
pub enum Silence {
    /// The time until the answer, and its status.
    Answered(Duration, u16),
    /// The time until there was something else than an answer, and what it was.
    Failed(Duration, String),
}

/// Asks all servers at once while Redis is silent.
pub fn answers_of_a_silent_redis(clients: Vec<Browser>, redis: &Redis, patience: Duration) -> Vec<Silence> {
    redis.while_silent(|| {
        let ask = |client: Browser| {
            thread::spawn(move || {
                let begin = Instant::now();
                match client.ask("/read", patience) {
                    Ok(answer) => Silence::Answered(begin.elapsed(), answer.status),
                    Err(reason) => Silence::Failed(begin.elapsed(), reason),
                }
            })
        };
        let asked: Vec<_> = clients.into_iter().map(ask).collect();
        asked.into_iter().map(|asked| asked.join().expect("it does not panic")).collect()
    })
}

fn logged_in(server: &Server) -> Result<Browser, String> {
    let mut browser = Browser::new(server.address);
    browser.get("/login")?;
    if has(&mut browser, "user")? { Ok(browser) } else { Err("a login does not log in".to_owned()) }
}

fn has(browser: &mut Browser, key: &str) -> Result<bool, String> {
    Ok(browser.get(&format!("/has/{key}"))? == "true")
}
