//! What a library does where requests meet, and where Redis is silent. Each answer is found by trying it.

use crate::http::Client;
use crate::redis::Redis;
use crate::server::Server;
use std::thread;
use std::time::{Duration, Instant};

/// How long the servers wait between reading a session and saving it, on their slow route.
const SLOW: Duration = Duration::from_millis(200);

pub struct Behaviour {
    /// Of so many pairs of requests that wrote different keys of one session at once, this many kept both.
    pub kept_both: (u32, u32),
    /// Of so many logouts beside a request under way, this many held.
    pub logouts_held: (u32, u32),
    /// How long a read took while Redis was silent. `None` if there was no answer within 15 seconds.
    pub silent: Option<Duration>,
}

impl Behaviour {
    pub fn of(server: &Server, redis: &Redis, is_short: bool) -> Behaviour {
        let tries = if is_short { 1 } else { 5 };
        let count = |works: fn(&Server) -> bool| ((0..tries).filter(|_| works(server)).count() as u32, tries);
        Behaviour {
            kept_both: count(keeps_both_writes),
            logouts_held: count(logout_holds),
            silent: if is_short { Some(Duration::ZERO) } else { answers_while_redis_is_silent(server, redis) },
        }
    }
}

/// Two requests read the session, and then each writes a key of its own.
fn keeps_both_writes(server: &Server) -> bool {
    let mut client = Client::logged_in(server);
    thread::scope(|scope| {
        for key in ["a", "b"] {
            let cookie = client.cookie.clone();
            scope.spawn(move || {
                Client::new(server, cookie).get(&format!("/slow-write?key={key}&value=written"));
            });
            thread::sleep(SLOW / 4);
        }
    });
    ["a", "b"].iter().all(|key| client.get(&format!("/read?key={key}")).body == "written")
}

/// A logout comes while another request of the session is under way. Afterwards neither the old cookie nor one that
/// the other request got must have the user.
fn logout_holds(server: &Server) -> bool {
    let mut browser = Client::logged_in(server);
    let cookie = browser.cookie.clone();
    let late = thread::scope(|scope| {
        let under_way = scope.spawn(|| {
            let mut client = Client::new(server, cookie.clone());
            client.get("/slow-write?key=a&value=written");
            client.cookie
        });
        thread::sleep(SLOW / 2);
        browser.get("/logout");
        under_way.join().expect("no panic")
    });
    // A session that is written after the answer needs a moment.
    thread::sleep(SLOW);
    [cookie, late].into_iter().all(|cookie| Client::new(server, cookie).get("/read?key=user").body != "ada")
}

fn answers_while_redis_is_silent(server: &Server, redis: &Redis) -> Option<Duration> {
    let mut client = Client::logged_in(server);
    redis.send(libc::SIGSTOP);
    let start = Instant::now();
    let answer = client.try_get("/read?key=user");
    let elapsed = start.elapsed();
    redis.send(libc::SIGCONT);
    thread::sleep(Duration::from_secs(1));
    answer.ok().map(|_| elapsed)
}
