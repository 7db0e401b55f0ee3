//! Several threads of one process share one `tiny_http` server and one manager. Each visitor has a cart.
//!
//! ```text
//! export SESSION_SECRET="$(openssl rand -base64 48)"
//! cargo run -p examples --bin tiny_http
//! curl -b jar -c jar -X POST http://127.0.0.1:8080/cart
//! curl -b jar -c jar http://127.0.0.1:8080/
//! curl -b jar -c jar -X POST http://127.0.0.1:8080/empty
//! ```
//!
//! `--listen ADDRESS:PORT` takes another address. The file `sessions.db`, in the folder where this runs, keeps the
//! sessions.

use multi_process_session::{Error, Secret, SessionManager, SqliteStore};
use std::{env, thread};
use tiny_http::{Header, Method, Request, Response, ResponseBox, Server};

/// How many requests are answered at a time.
const THREADS: usize = 8;

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let manager = SessionManager::builder(Secret::from_env("SESSION_SECRET")?)
        .store(SqliteStore::new("sessions.db"))
        .secure(false) // For development over plain http. Leave this out behind https.
        .build()?;
    let listen = env::args().skip_while(|argument| argument != "--listen").nth(1);
    let server = Server::http(listen.as_deref().unwrap_or("127.0.0.1:8080"))?;
    println!("http://{} with {THREADS} threads, sessions in sessions.db", server.server_addr());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| answer_requests(&server, &manager));
        }
    });
    Ok(())
}

fn answer_requests(server: &Server, manager: &SessionManager) {
    for request in server.incoming_requests() {
        let response = page(manager, &request).unwrap_or_else(|error| {
            eprintln!("tiny_http: {error}");
            text(error.http_status(), "please try again soon\n")
        });
        let _ = request.respond(response); // Fails if the client has gone.
    }
}

fn page(manager: &SessionManager, request: &Request) -> Result<ResponseBox, Error> {
    let mut session = manager.load(request)?;
    let mut response = match (request.method(), request.url()) {
        (Method::Get, "/") => {
            let things: u64 = session.get("things")?.unwrap_or(0);
            text(200, format!("{things} things in your cart\n"))
        }
        // Browsers send no `SameSite=Lax` cookie with the forms of other sites, but they would take the cookie of a new
        // session, in the place of the visitor's own. Old browsers do not say where a form comes from. So a form with
        // more at stake needs a token: see `rouille.rs`.
        (Method::Post, _) if is_of_another_site(request) => return Ok(text(403, "this form is not ours\n")),
        (Method::Post, "/cart") => {
            // The store adds. If two threads add to one cart at the same time, both things are in it.
            session.increment("things", 1)?;
            text(200, "one thing more is in your cart\n")
        }
        (Method::Post, "/empty") => {
            session.remove("things");
            text(200, "your cart is empty\n")
        }
        _ => text(404, "no such page\n"),
    };
    session.save_into(&mut response)?;
    Ok(response)
}

/// Returns whether the browser says that another site has caused this request (Fetch Metadata).
fn is_of_another_site(request: &Request) -> bool {
    let header = request.headers().iter().find(|header| header.field.equiv("Sec-Fetch-Site"));
    header.is_some_and(|header| !["same-origin", "none"].contains(&header.value.as_str()))
}

fn text(status: u16, body: impl Into<String>) -> ResponseBox {
    // Every page is made for one visitor, also those without a new cookie.
    let no_store = Header::from_bytes("Cache-Control", "no-store").expect("it is ASCII");
    Response::from_string(body).with_status_code(status).with_header(no_store).boxed()
}
