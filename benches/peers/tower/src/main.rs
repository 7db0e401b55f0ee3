//! The routes of the comparison on tower-sessions and axum, with a pool of 6 connections as in its documentation.
//!
//! `peer-tower PORT REDIS`. Without `with_always_save`, a read would not extend the session.

use axum::extract::Query;
use axum::http::StatusCode;
use axum::{Router, routing::get};
use std::collections::HashMap;
use std::time::Duration;
use tower_sessions::cookie::time;
use tower_sessions::{Expiry, Session, SessionManagerLayer};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{ClientLike, Config, Pool};

type Arguments = Query<HashMap<String, String>>;
type Answer = Result<String, (StatusCode, String)>;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let config = Config::from_url(&arguments[2]).expect("a URL");
    let pool = Pool::new(config, None, None, None, 6).expect("a pool");
    let _connections = pool.connect();
    pool.wait_for_connect().await.expect("Redis is there");
    let sessions = SessionManagerLayer::new(RedisStore::new(pool))
        .with_secure(false)
        .with_always_save(true)
        .with_expiry(Expiry::OnInactivity(time::Duration::hours(1)));
    let routes = Router::new()
        .route("/read", get(read))
        .route("/write", get(write))
        .route("/slow-write", get(slow_write))
        .route("/logout", get(logout))
        .layer(sessions)
        .route("/bare", get(|| async { "ok" }));
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{}", arguments[1])).await.expect("a free port");
    axum::serve(listener, routes).await.expect("it serves");
}

async fn read(session: Session, arguments: Arguments) -> Answer {
    Ok(session.get::<String>(&arguments["key"]).await.map_err(fault)?.unwrap_or_default())
}

async fn write(session: Session, arguments: Arguments) -> Answer {
    session.insert(&arguments["key"], &arguments["value"]).await.map_err(fault)?;
    Ok("ok".to_owned())
}

async fn slow_write(session: Session, arguments: Arguments) -> Answer {
    let answer = write(session, arguments).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    answer
}

async fn logout(session: Session) -> Answer {
    session.flush().await.map_err(fault)?;
    Ok("logged out".to_owned())
}

fn fault(error: tower_sessions::session::Error) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}
