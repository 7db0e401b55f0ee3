//! The routes of the comparison on this library and tiny_http, with 16 threads.
//!
//! `peer-ours PORT REDIS [each]`: with `each`, every load refreshes the session, as the peers do it.

use multi_process_session::{Error, Refresh, Secret, SessionManager, SetCookie};
use std::thread;
use std::time::Duration;
use tiny_http::{Header, Request, Response, Server};

const THREADS: u32 = 16;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let secret = Secret::new("a secret for the comparison, 32 bytes or more").expect("it is long enough");
    let refresh =
        if arguments.get(3).is_some_and(|when| when == "each") { Refresh::EveryLoad } else { Refresh::default() };
    let manager = SessionManager::builder(secret)
        .store_url(&arguments[2])
        .idle_timeout(Duration::from_secs(3600))
        .refresh(refresh)
        .pool_size(THREADS)
        .secure(false)
        .build()
        .expect("valid settings");
    let server = Server::http(format!("127.0.0.1:{}", arguments[1])).expect("a free port");
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Ok(request) = server.recv() {
                    let response = respond(&manager, &request);
                    let _ = request.respond(response);
                }
            });
        }
    });
}

fn respond(manager: &SessionManager, request: &Request) -> Response<std::io::Cursor<Vec<u8>>> {
    match page(manager, request) {
        Ok((body, None)) => Response::from_string(body),
        Ok((body, Some(cookie))) => {
            let header = Header::from_bytes("Set-Cookie", cookie.as_str()).expect("a header");
            Response::from_string(body).with_header(header)
        }
        Err(Error::Gone) => Response::from_string("logged out").with_status_code(409),
        Err(error) => Response::from_string(error.to_string()).with_status_code(503),
    }
}

fn page(manager: &SessionManager, request: &Request) -> Result<(String, Option<SetCookie>), Error> {
    let (path, query) = request.url().split_once('?').unwrap_or((request.url(), ""));
    let argument = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    };
    if path == "/bare" {
        return Ok(("ok".to_owned(), None));
    }
    let mut session = manager.load(request)?;
    let body = match path {
        "/read" => session.get::<String>(argument("key"))?.unwrap_or_default(),
        "/write" => {
            session.set(argument("key"), argument("value"))?;
            "ok".to_owned()
        }
        "/slow-write" => {
            session.set(argument("key"), argument("value"))?;
            thread::sleep(Duration::from_millis(200));
            "ok".to_owned()
        }
        _ => return Ok(("logged out".to_owned(), session.destroy()?)),
    };
    Ok((body, session.save()?))
}
