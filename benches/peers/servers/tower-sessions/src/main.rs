//! The routes of the comparison on tower-sessions under axum.
//!
//! The session layer is set up as in the README of its store for Redis. `with_always_save` makes the expiry a rolling
//! one: without it, only a request that changes the session extends the expiry.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::{Router, routing::get};
use std::env;
use tower_sessions::cookie::time::Duration;
use tower_sessions::session::Error;
use tower_sessions::{Expiry, Session, SessionManagerLayer};
use tower_sessions_redis_store::{RedisStore, fred::prelude::*};

type Page = Result<String, (StatusCode, String)>;

#[tokio::main]
async fn main() {
    let redis = Config::from_url(&env::var("REDIS_URL").expect("REDIS_URL is set")).expect("the URL is valid");
    let pool = Pool::new(redis, None, None, None, 6).expect("the settings are valid");
    let _connections = pool.connect();
    pool.wait_for_connect().await.expect("Redis answers");
    let sessions = SessionManagerLayer::new(RedisStore::new(pool))
        .with_secure(false)
        .with_expiry(Expiry::OnInactivity(Duration::hours(1)))
        .with_always_save(true);
    let app = Router::new()
        .route("/read", get(read))
        .route("/count", get(count))
        .route("/login", get(login))
        .route("/logout", get(logout))
        .route("/has/{key}", get(has))
        .route("/slow/{key}", get(slow))
        .layer(sessions)
        .route("/bare", get(|| async { "ok" }));
    let address = format!("127.0.0.1:{}", env::var("PORT").expect("PORT is set"));
    let listener = tokio::net::TcpListener::bind(address).await.expect("the port is free");
    axum::serve(listener, app).await.expect("the server runs");
}

async fn read(session: Session) -> Page {
    Ok(session.get::<u64>("count").await.map_err(failure)?.unwrap_or(0).to_string())
}

async fn count(session: Session) -> Page {
    let count = session.get::<u64>("count").await.map_err(failure)?.unwrap_or(0) + 1;
    session.insert("count", count).await.map_err(failure)?;
    Ok(count.to_string())
}

async fn login(session: Session) -> Page {
    session.insert("user", "ada").await.map_err(failure)?;
    session.insert("name", "Ada Lovelace").await.map_err(failure)?;
    session.insert("theme", "dark").await.map_err(failure)?;
    session.insert("language", "en").await.map_err(failure)?;
    session.insert("count", 0).await.map_err(failure)?;
    Ok("ok".to_owned())
}

async fn logout(session: Session) -> Page {
    session.flush().await.map_err(failure)?;
    Ok("ok".to_owned())
}

async fn has(session: Session, Path(key): Path<String>) -> Page {
    Ok(session.get_value(&key).await.map_err(failure)?.is_some().to_string())
}

async fn slow(session: Session, Path(key): Path<String>) -> Page {
    session.insert(&key, true).await.map_err(failure)?;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    Ok("ok".to_owned())
}

fn failure(error: Error) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}
