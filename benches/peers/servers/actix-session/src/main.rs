//! The routes of the comparison on actix-session under actix-web.
//!
//! The store for Redis is set up as in the crate's documentation. `TtlExtensionPolicy::OnEveryRequest` makes the expiry
//! a rolling one.

use actix_session::config::{PersistentSession, TtlExtensionPolicy};
use actix_session::storage::RedisSessionStore;
use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::{Key, time::Duration};
use actix_web::web::{self, Path};
use actix_web::{App, Error, HttpServer};
use std::env;

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let key = Key::generate();
    let url = env::var("REDIS_URL").expect("REDIS_URL is set");
    let store = RedisSessionStore::new(url).await.expect("Redis answers");
    let address = format!("127.0.0.1:{}", env::var("PORT").expect("PORT is set"));
    HttpServer::new(move || {
        let lifecycle = PersistentSession::default()
            .session_ttl(Duration::hours(1))
            .session_ttl_extension_policy(TtlExtensionPolicy::OnEveryRequest);
        let sessions = SessionMiddleware::builder(store.clone(), key.clone())
            .cookie_secure(false)
            .session_lifecycle(lifecycle)
            .build();
        App::new().route("/bare", web::get().to(bare)).service(
            web::scope("")
                .wrap(sessions)
                .route("/read", web::get().to(read))
                .route("/count", web::get().to(count))
                .route("/login", web::get().to(login))
                .route("/logout", web::get().to(logout))
                .route("/has/{key}", web::get().to(has))
                .route("/slow/{key}", web::get().to(slow)),
        )
    })
    .bind(address)?
    .run()
    .await
}

async fn bare() -> &'static str {
    "ok"
}

async fn read(session: Session) -> Result<String, Error> {
    Ok(session.get::<u64>("count")?.unwrap_or(0).to_string())
}

async fn count(session: Session) -> Result<String, Error> {
    let count = session.get::<u64>("count")?.unwrap_or(0) + 1;
    session.insert("count", count)?;
    Ok(count.to_string())
}

async fn login(session: Session) -> Result<&'static str, Error> {
    session.insert("user", "ada")?;
    session.insert("name", "Ada Lovelace")?;
    session.insert("theme", "dark")?;
    session.insert("language", "en")?;
    session.insert("count", 0)?;
    Ok("ok")
}

async fn logout(session: Session) -> &'static str {
    session.purge();
    "ok"
}

async fn has(session: Session, key: Path<String>) -> Result<String, Error> {
    Ok(session.contains_key(&key).to_string())
}

async fn slow(session: Session, key: Path<String>) -> Result<&'static str, Error> {
    session.insert(key.into_inner(), true)?;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    Ok("ok")
}
