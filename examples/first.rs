//! Counts the visits of each visitor. The file `sessions.db`, in the folder where this runs, keeps the sessions.
//!
//!     export SESSION_SECRET="$(openssl rand -base64 48)" # keep it: with another secret, all visitors begin anew
//!     cargo run -p examples --bin first

use multi_process_session::{Error, Secret, SessionManager, SqliteStore};
use tiny_http::{Request, Response, ResponseBox, Server};

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let manager = SessionManager::builder(Secret::from_env("SESSION_SECRET")?)
        .store(SqliteStore::new("sessions.db"))
        .secure(false) // for plain http, while developing
        .build()?;
    let server = Server::http(std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:8080"))?;
    println!("http://{} with sessions in sessions.db", server.server_addr());
    for request in server.incoming_requests() {
        let response = page(&manager, &request).unwrap_or_else(|error| {
            eprintln!("{error}");
            Response::from_string("Please try again soon.\n").with_status_code(error.http_status()).boxed()
        });
        let _ = request.respond(response); // fails if the client has gone
    }
    Ok(())
}

fn page(manager: &SessionManager, request: &Request) -> Result<ResponseBox, Error> {
    let mut session = manager.load(request)?;
    if request.url() == "/" {
        session.increment("visits", 1)?; // a real site sets nothing before it has a reason, such as a login
    }
    let visits = session.get::<u64>("visits")?.unwrap_or(0);
    let mut response = Response::from_string(format!("{visits} visits\n")).boxed();
    session.save_into(&mut response)?;
    Ok(response)
}
