//! The routes of the comparison on actix-session: `RedisSessionStore::new`, and each request extends the lifetime.
//!
//! `peer-actix PORT REDIS`.

use actix_session::config::{PersistentSession, TtlExtensionPolicy};
use actix_session::storage::RedisSessionStore;
use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::{Key, time};
use actix_web::{App, Error, HttpServer, web};
use std::collections::HashMap;
use std::time::Duration;

type Arguments = web::Query<HashMap<String, String>>;

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let key = Key::from(&[7; 64]);
    let store = RedisSessionStore::new(&arguments[2]).await.expect("Redis is there");
    HttpServer::new(move || {
        let lifecycle = PersistentSession::default()
            .session_ttl(time::Duration::hours(1))
            .session_ttl_extension_policy(TtlExtensionPolicy::OnEveryRequest);
        let sessions = SessionMiddleware::builder(store.clone(), key.clone())
            .cookie_secure(false)
            .session_lifecycle(lifecycle)
            .build();
        App::new().route("/bare", web::get().to(bare)).service(
            web::scope("")
                .wrap(sessions)
                .route("/read", web::get().to(read))
                .route("/write", web::get().to(write))
                .route("/slow-write", web::get().to(slow_write))
                .route("/logout", web::get().to(logout)),
        )
    })
    .workers(2)
    .bind(("127.0.0.1", arguments[1].parse().expect("a port")))?
    .run()
    .await
}

async fn bare() -> &'static str {
    "ok"
}

async fn read(session: Session, arguments: Arguments) -> Result<String, Error> {
    Ok(session.get::<String>(&arguments["key"])?.unwrap_or_default())
}

async fn write(session: Session, arguments: Arguments) -> Result<&'static str, Error> {
    session.insert(&arguments["key"], &arguments["value"])?;
    Ok("ok")
}

async fn slow_write(session: Session, arguments: Arguments) -> Result<&'static str, Error> {
    let answer = write(session, arguments).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    answer
}

async fn logout(session: Session) -> &'static str {
    session.purge();
    "logged out"
}
