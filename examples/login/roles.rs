//! Roles: a value of each user, which all sessions of the user see with their next load, in every process.

use crate::{Page, Site, USERS, save, view};
use multi_process_session::{Error, Session, SessionManager};
use site::{Form, field, not_found, see_other};
use std::collections::HashMap;
use std::sync::Mutex;

pub(crate) const READER: &str = "reader";
pub(crate) const EDITOR: &str = "editor";
pub(crate) const ADMINISTRATOR: &str = "administrator";

/// The roles of all users. A real site keeps them in a database.
pub(crate) struct Roles(Mutex<HashMap<&'static str, &'static str>>);

impl Roles {
    pub(crate) fn new() -> Roles {
        let role = |user| if user == "margaret" { ADMINISTRATOR } else { READER };
        Roles(Mutex::new(USERS.map(|(user, _)| (user, role(user))).into()))
    }

    fn of(&self, user: &str) -> &'static str {
        self.0.lock().expect("no holder panics").get(user).copied().unwrap_or(READER)
    }

    /// Copies the role of a user from the database to the sessions of the user, and gives it. Each login does this.
    pub(crate) fn publish(&self, manager: &SessionManager, user: &str) -> Result<&'static str, Error> {
        // The lock keeps a change of the role from coming in between. With a database, lock the row.
        let roles = self.0.lock().expect("no holder panics");
        let role = roles.get(user).copied().unwrap_or(READER);
        manager.group(user).set_value("role", role)?;
        Ok(role)
    }

    fn change(&self, manager: &SessionManager, user: &'static str, role: &'static str) -> Result<(), Error> {
        let mut roles = self.0.lock().expect("no holder panics");
        manager.group(user).set_value("role", role)?;
        roles.insert(user, role);
        Ok(())
    }
}

/// Returns the role that a session has now. The load has read it together with the session.
pub(crate) fn role_of(session: &Session) -> Result<String, Error> {
    Ok(session.group_value("role")?.unwrap_or_else(|| READER.to_owned()))
}

/// Shows the roles of all users but the administrator.
pub(crate) fn list(site: &Site, mut session: Session) -> Page {
    if role_of(&session)? != ADMINISTRATOR {
        return save(session, not_found());
    }
    let roles = USERS.map(|(user, _)| (user, site.roles.of(user)));
    let others: Vec<_> = roles.into_iter().filter(|(_, role)| *role != ADMINISTRATOR).collect();
    let response = view::roles(&mut session, &others)?;
    save(session, response)
}

/// Changes the role of a user. From now on, every page of this user has the new one.
pub(crate) fn change(site: &Site, mut session: Session, form: &Form) -> Page {
    let user = USERS.into_iter().map(|(user, _)| user).find(|user| *user == field(form, "user"));
    let role = [READER, EDITOR].into_iter().find(|role| *role == field(form, "role"));
    let (Some(user), Some(role), ADMINISTRATOR) = (user, role, role_of(&session)?.as_str()) else {
        return save(session, not_found());
    };
    if site.roles.of(user) != ADMINISTRATOR {
        site.roles.change(&site.manager, user, role)?;
        session.flash("notice", &format!("The role of {user} is {role} now."))?;
    }
    save(session, see_other("/roles"))
}
