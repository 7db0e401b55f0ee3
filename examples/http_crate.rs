//! A server that uses the types of the `http` crate. Here it is `oxhttp`, with a thread for each connection.
//!
//! ```text
//! export SESSION_SECRET="$(openssl rand -base64 48)"
//! cargo run -p examples --bin http_crate --features http_crate
//! curl -b jar -c jar -X PUT http://127.0.0.1:8080/theme/dark
//! curl -b jar -c jar http://127.0.0.1:8080/theme
//! curl -b jar -c jar -X DELETE http://127.0.0.1:8080/session
//! ```
//!
//! `--listen ADDRESS:PORT` takes another address. The file `sessions.db`, in the folder where this runs, keeps the
//! sessions.
//!
//! `astra` is another server with these types. Its version 0.4.0 sometimes misses that a request has come, and then the
//! client waits until it gives up. That happens on pages without sessions too.

use multi_process_session::{Error, Secret, SessionManager, SqliteStore};
use oxhttp::Server;
use oxhttp::model::{Body, Method, Request, Response};
use std::env;
use std::net::SocketAddr;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = SessionManager::builder(Secret::from_env("SESSION_SECRET")?)
        .store(SqliteStore::new("sessions.db"))
        .secure(false) // For development over plain http. Leave this out behind https.
        .build()?;
    let listen = env::args().skip_while(|argument| argument != "--listen").nth(1);
    let address: SocketAddr = listen.as_deref().unwrap_or("127.0.0.1:8080").parse()?;
    let server = Server::new(move |request| {
        page(&manager, request).unwrap_or_else(|error| {
            eprintln!("http_crate: {error}");
            text(error.http_status(), "please try again soon\n")
        })
    });
    let server = server.bind(address).with_global_timeout(Duration::from_secs(10)).with_max_concurrent_connections(64);
    let server = server.spawn()?;
    println!("http://{address} with sessions in sessions.db");
    server.join()?;
    Ok(())
}

fn page(manager: &SessionManager, request: &Request<Body>) -> Result<Response<Body>, Error> {
    let mut session = manager.load(request)?;
    let mut response = match (request.method(), request.uri().path()) {
        (&Method::GET, "/theme") => text(200, session.get("theme")?.unwrap_or("light".to_owned()) + "\n"),
        (&Method::PUT, path @ ("/theme/dark" | "/theme/light")) => {
            session.set("theme", path.trim_start_matches("/theme/"))?;
            text(200, "saved\n")
        }
        (&Method::DELETE, "/session") => {
            let mut response = text(200, "your session has ended\n");
            manager.destroy(request)?.add_to(&mut response);
            return Ok(response);
        }
        _ => text(404, "no such page\n"),
    };
    session.save_into(&mut response)?;
    Ok(response)
}

fn text(status: u16, body: impl Into<String>) -> Response<Body> {
    let response = Response::builder().status(status).header("Content-Type", "text/plain; charset=utf-8");
    // Every page is made for one visitor, also those without a new cookie.
    let response = response.header("Cache-Control", "no-store");
    response.body(Body::from(body.into())).expect("these headers are fine")
}
