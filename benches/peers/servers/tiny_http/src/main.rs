//! The routes of the comparison on this library under `tiny_http`.

use multi_process_session::{Error, Refresh, Secret, SessionManager, SetCookie};
use std::env;
use std::io::Cursor;
use std::thread;
use std::time::Duration;
use tiny_http::{Header, Request, Response, Server};

/// One for each connection of the load, because a request occupies its thread.
const THREADS: u32 = 16;

fn main() {
    let secret = Secret::new("the secret of a bench, 32 bytes or more").expect("it is long enough");
    let mut settings = SessionManager::builder(secret)
        .store_url(&env::var("REDIS_URL").expect("REDIS_URL is set"))
        .idle_timeout(Duration::from_secs(60 * 60))
        .pool_size(THREADS)
        .secure(false);
    if env::var("REFRESH").is_ok_and(|refresh| refresh == "every load") {
        settings = settings.refresh(Refresh::EveryLoad);
    }
    let manager = settings.build().expect("the settings are valid");
    let address = format!("127.0.0.1:{}", env::var("PORT").expect("PORT is set"));
    let server = Server::http(address).expect("the port is free");
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Ok(request) = server.recv() {
                    let answer = answer(&manager, &request);
                    let _ = request.respond(answer); // Fails if the client has gone.
                }
            });
        }
    });
}

fn answer(manager: &SessionManager, request: &Request) -> Response<Cursor<Vec<u8>>> {
    match page(manager, request) {
        Ok((text, None)) => Response::from_string(text),
        Ok((text, Some(cookie))) => Response::from_string(text)
            .with_header(Header::from_bytes("Set-Cookie", cookie.as_str()).expect("it is ASCII")),
        Err(Error::Gone) => Response::from_string("the session has ended meanwhile").with_status_code(409),
        Err(error) => Response::from_string(error.to_string()).with_status_code(503),
    }
}

fn page(manager: &SessionManager, request: &Request) -> Result<(String, Option<SetCookie>), Error> {
    let path = request.url();
    if path == "/bare" {
        return Ok(("ok".to_owned(), None));
    }
    if path == "/logout" {
        return Ok(("ok".to_owned(), Some(manager.destroy(request)?)));
    }
    let mut session = manager.load(request)?;
    let mut text = "ok".to_owned();
    if path == "/read" {
        text = session.get::<u64>("count")?.unwrap_or(0).to_string();
    } else if path == "/count" {
        let count = session.get::<u64>("count")?.unwrap_or(0) + 1;
        session.set("count", &count)?;
        text = count.to_string();
    } else if path == "/login" {
        session.set("user", "ada")?;
        session.set("name", "Ada Lovelace")?;
        session.set("theme", "dark")?;
        session.set("language", "en")?;
        session.set("count", &0)?;
    } else if let Some(key) = path.strip_prefix("/has/") {
        text = session.contains_key(key).to_string();
    } else if let Some(key) = path.strip_prefix("/slow/") {
        session.set(key, &true)?;
        thread::sleep(Duration::from_millis(300));
    }
    Ok((text, session.save()?))
}
