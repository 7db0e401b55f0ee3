//! The calls of an application. The targets make them while the store or a reply is damaged.

use crate::pair;
use multi_process_session::{Error, Session, SessionManager};
use std::time::Duration;

/// One call of an application, for the session of this `Cookie` header.
pub(crate) type Call = fn(&SessionManager, &str) -> Result<(), Error>;

pub(crate) const GROUP: &str = "staff";

/// All that an application can call.
pub(crate) const CALLS: [Call; 16] = [
    |manager, cookie| {
        look_at(&manager.load(cookie)?);
        Ok(())
    },
    |manager, cookie| try_change(manager, cookie, |session| session.set("new", &1)),
    |manager, cookie| try_change(manager, cookie, |session| session.increment("count", 1)),
    |manager, cookie| change(manager, cookie, |session| session.regenerate()),
    |manager, cookie| change(manager, cookie, |session| session.regenerate_with_grace(Duration::from_secs(9))),
    |manager, cookie| change(manager, cookie, |session| session.set_group_name(GROUP)),
    |manager, cookie| change(manager, cookie, |session| session.leave_group()),
    |manager, cookie| try_change(manager, cookie, |session| session.take_flash::<String>("note").map(drop)),
    |manager, cookie| {
        change(manager, cookie, |session| {
            session.clear();
            session.set_idle_timeout(Duration::from_secs(5));
        })
    },
    |manager, cookie| manager.transact(cookie, |session| session.set("new", &2)).map(drop),
    |manager, _| {
        for session in manager.group(GROUP).sessions_with(&["user", "count", "new"])? {
            let _ = (session.get::<serde_json::Value>("user"), session.joined_at(), format!("{session:?}"));
        }
        Ok(())
    },
    |manager, _| manager.group(GROUP).len().map(drop),
    |manager, cookie| {
        let session = manager.load(cookie)?;
        manager.group(GROUP).clear_except(&session).map(drop)
    },
    |manager, cookie| manager.load(cookie)?.destroy().map(drop),
    |manager, _| try_change(manager, "", |session| session.set("user", "edith")),
    |manager, _| manager.ping(),
];

fn change(manager: &SessionManager, cookie: &str, work: impl FnOnce(&mut Session)) -> Result<(), Error> {
    try_change(manager, cookie, |session| {
        work(session);
        Ok(())
    })
}

fn try_change(
    manager: &SessionManager,
    cookie: &str,
    work: impl FnOnce(&mut Session) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut session = manager.load(cookie)?;
    work(&mut session)?;
    session.save()?;
    look_at(&session);
    Ok(())
}

/// Everything that a session tells.
fn look_at(session: &Session) {
    let _ = (session.get::<serde_json::Value>("user"), session.get::<i64>("count"), session.keys().len());
    let _ = (session.created_at(), session.expires_at(), session.authenticated_at(), session.group_name());
    let _ = format!("{session:?}");
}

/// Logs a user in, and gives the `Cookie` header.
pub(crate) fn login(manager: &SessionManager, user: &str, group: Option<&str>) -> String {
    let mut session = manager.load(None).expect("a new session");
    session.set("user", user).expect("a text");
    session.increment("count", 1).expect("a new number");
    session.flash("note", "hello").expect("a text");
    group.inspect(|group| session.set_group_name(group));
    pair(&session.save().expect("the store works").expect("a cookie"))
}

/// Gives the session a new id with a grace of five minutes. Returns the `Cookie` header of the new id.
pub(crate) fn renew(manager: &SessionManager, cookie: &str) -> String {
    let mut session = manager.load(cookie).expect("the store works");
    session.regenerate_with_grace(Duration::from_secs(300));
    pair(&session.save().expect("the store works").expect("a cookie"))
}

/// Logs the user out. If the answer is Ok, checks that the session has ended.
pub(crate) fn log_out(manager: &SessionManager, cookie: &str) -> Result<(), Error> {
    let _ = manager.destroy(cookie)?;
    if let Ok(session) = manager.load(cookie) {
        assert!(session.is_new(), "the session is alive after a logout that was answered with Ok");
    }
    Ok(())
}

/// Ends all sessions of the group. If the answer is Ok, checks that the group is empty.
pub(crate) fn clear_group(manager: &SessionManager) -> Result<(), Error> {
    manager.group(GROUP).clear()?;
    if let Ok(left) = manager.group(GROUP).len() {
        assert_eq!(left, 0, "sessions are left in the group after all of them were ended");
    }
    Ok(())
}
