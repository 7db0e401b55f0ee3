//! Counts the visits of each client.

use multi_process_session::{Secret, SessionManager};
use tiny_http::{Header, Response, Server};

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let secret = Secret::new(std::env::var("SESSION_SECRET")?)?; // 32 bytes or more, the same in every worker
    let manager = SessionManager::builder(secret)
        .store_url("redis://127.0.0.1:6379")
        .secure(false) // for plain http, while developing
        .build()?;
    for request in Server::http("127.0.0.1:8080")?.incoming_requests() {
        let mut session = manager.load(&request)?;
        session.increment("visits", 1)?;
        let set_cookie = session.save()?;
        let visits = session.get::<u64>("visits")?.unwrap_or(0);
        let mut response = Response::from_string(format!("{visits} visits\n"));
        if let Some(set_cookie) = set_cookie {
            response.add_header(Header::from_bytes("Set-Cookie", set_cookie.as_str()).expect("it is ASCII"));
            response.add_header(Header::from_bytes("Cache-Control", "no-store").expect("it is ASCII"));
        }
        request.respond(response)?;
    }
    Ok(())
}
