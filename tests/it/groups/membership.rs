//! Joining and leaving a group: logins, and whatever else gives a session to a user.

use crate::support::place::Place;
use crate::support::wait::next_millisecond;
use crate::support::{builder, cookie, devices, is_alive, login_on, manager, session_with};
use multi_process_session::{Error, Oversize, Session};
use std::time::{Duration, SystemTime};

#[test]
fn a_name_that_is_too_long_is_refused_and_nothing_is_written() {
    let places = Place::all();
    for url in places.iter().map(Place::url).chain(["memory:".to_owned()]) {
        let manager = builder(&url).max_session_bytes(1024).build().unwrap();
        let (longest, too_long) =
            ("é".repeat(Session::MAX_GROUP_NAME_BYTES / 2), "n".repeat(Session::MAX_GROUP_NAME_BYTES + 1));
        let refused = |session: &mut Session, name: &str| {
            session.set_group_name(name);
            session.set("a", &2).unwrap();
            let error = session.save().unwrap_err();
            let Error::TooLarge { what: Oversize::GroupName, size, limit: 1024, .. } = &error else {
                panic!("{error:?}")
            };
            assert_eq!(*size, name.len());
            assert!(!error.to_string().contains("nnn") && !format!("{error:?}").contains("nnn"), "{error:?}");
        };
        let mut new = manager.load(None).unwrap();
        for name in [too_long.as_str(), &"n".repeat(1 << 20), &"n".repeat(50 << 20)] {
            refused(&mut new, name);
        }
        assert!(new.is_new());
        let anonymous = session_with(&manager, &[("a", "1")]);
        let mut session = manager.load(&anonymous).unwrap();
        refused(&mut session, &too_long);
        let now = manager.load(&anonymous).unwrap();
        assert_eq!((now.get::<String>("a").unwrap().as_deref(), now.group_name()), (Some("1"), None));
        assert_eq!(manager.group(&too_long).sessions().unwrap().len(), 0);
        assert_eq!(manager.group(&too_long).clear().unwrap(), 0);

        // With another name, or none, everything else that was set is saved.
        session.set_group_name(&longest);
        let header = cookie(&session.save().unwrap().unwrap());
        let mut session = manager.load(&header).unwrap();
        assert_eq!((session.group_name(), session.get("a").unwrap()), (Some(&*longest), Some(2)));
        assert_eq!(manager.group(&longest).len().unwrap(), 1);
        refused(&mut session, &too_long);
        session.leave_group();
        session.save().unwrap();
        assert_eq!((session.group_name(), manager.group(&longest).len().unwrap()), (None, 0));
        new.leave_group();
        assert!(new.save().unwrap().is_some());
    }
}

#[test]
fn a_login_gives_a_new_id_and_the_old_one_is_dead() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let anonymous = session_with(&manager, &[("cart", "full")]);
        let mut session = manager.load(&anonymous).unwrap();
        assert_eq!((session.group_name(), session.authenticated_at()), (None, None));
        let (old_id, csrf) = (session.public_id(), session.csrf_token());
        session.set("user", "ada").unwrap();
        session.set_group_name("ada");
        assert_eq!(session.group_name(), Some("ada"), "as it is going to be");
        let header = cookie(&session.save().unwrap().expect("a new id needs a cookie"));
        assert_ne!(session.public_id(), old_id);
        assert!(!is_alive(&manager, &anonymous), "an id that was planted before is worth nothing");

        let mut session = manager.load(&header).unwrap();
        assert_eq!(session.group_name(), Some("ada"));
        assert_eq!(session.keys(), ["cart", "user"], "the name is none of the values");
        let authenticated_at = session.authenticated_at().expect("it has joined");
        assert!(authenticated_at >= session.created_at().unwrap());
        assert!(SystemTime::now().duration_since(authenticated_at).unwrap() < Duration::from_secs(60));
        assert!(!session.verify_csrf(&csrf), "a form of before the login");
        assert_eq!(session.save().unwrap(), None);

        // Without its values it is still logged in.
        session.clear();
        session.save().unwrap();
        let mut session = manager.load(&header).unwrap();
        assert_eq!((session.group_name(), session.len()), (Some("ada"), 0));

        // The user gives the password again.
        next_millisecond();
        session.set_group_name("ada");
        let again = cookie(&session.save().unwrap().expect("a new id needs a cookie"));
        assert!(session.authenticated_at() > Some(authenticated_at));
        assert!(!is_alive(&manager, &header));
        assert_eq!(manager.group("ada").sessions().unwrap().len(), 1);
        assert_eq!(place.records(), 1);
        assert!(is_alive(&manager, &again));
    }
}

#[test]
fn a_session_changes_and_leaves_its_group() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let [ada, grace] = ["ada", "grace"].map(|name| manager.group(name));
        let header = login_on(&manager, "ada", "phone");
        let mut session = manager.load(&header).unwrap();
        session.set("device", "phone").unwrap();
        session.set_group_name("grace");
        let header = cookie(&session.save().unwrap().unwrap());
        assert_eq!((devices(&ada), devices(&grace)), (vec![], vec!["phone".to_owned()]));
        assert_eq!(ada.clear().unwrap(), 0);

        let mut session = manager.load(&header).unwrap();
        session.leave_group();
        assert_eq!(session.group_name(), None, "as it is going to be");
        let alone = cookie(&session.save().unwrap().expect("a new id needs a cookie"));
        assert!(!is_alive(&manager, &header));
        assert_eq!((devices(&grace), grace.clear().unwrap()), (vec![], 0));
        let mut session = manager.load(&alone).unwrap();
        assert_eq!((session.group_name(), session.authenticated_at(), session.len()), (None, None, 1));

        // It is not in a group, so there is nothing to leave.
        session.leave_group();
        assert_eq!(session.save().unwrap(), None);
        // The last call counts.
        session.set_group_name("ada");
        session.leave_group();
        let header = cookie(&session.save().unwrap().expect("a new id all the same"));
        assert_eq!((manager.load(&header).unwrap().group_name(), devices(&ada)), (None, vec![]));
        let mut session = manager.load(None).unwrap();
        session.set_group_name("ada");
        session.leave_group();
        assert_eq!(session.save().unwrap(), None, "nothing was set");
    }
}

#[test]
fn no_value_of_one_user_passes_to_the_next() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let log_in = |header: &str, user: &str| {
            let mut session = manager.load(header).unwrap();
            session.set("greeting", &format!("Hello {user}")).unwrap();
            session.increment("visits", 1).unwrap();
            session.set_group_name(user);
            // What another request sets before this one is saved is the other user's, too.
            let mut other = manager.load(header).unwrap();
            other.set("late", "secret").unwrap();
            other.save().unwrap();
            cookie(&session.save().unwrap().expect("a login gives a cookie"))
        };
        let keys = |header: &str| -> Vec<String> {
            let session = manager.load(header).unwrap();
            session.keys().into_iter().map(str::to_owned).collect()
        };
        let visitor = session_with(&manager, &[("cart", "apples")]);
        let ada = log_in(&visitor, "ada");
        assert_eq!(keys(&ada), ["cart", "greeting", "late", "visits"], "a visitor's values stay");
        let ada = log_in(&ada, "ada");
        assert_eq!(keys(&ada), ["cart", "greeting", "late", "visits"], "the same user's values stay");
        let grace = log_in(&ada, "grace");
        let session = manager.load(&grace).unwrap();
        assert_eq!(session.get::<String>("greeting").unwrap().as_deref(), Some("Hello grace"));
        assert_eq!(keys(&grace), ["greeting"], "only what the request of the login set");

        let mut session = manager.load(&grace).unwrap();
        session.leave_group();
        session.set_group_name("ada");
        assert!(session.is_empty(), "the group was left in the same request");
        let _ = session.save().unwrap();
        assert_eq!(manager.group("ada").sessions_with(&["greeting"]).unwrap().len(), 1);
        assert!(session.is_empty());
    }
}

#[test]
fn any_name_is_a_group_of_its_own() {
    let long = "x".repeat(Session::MAX_GROUP_NAME_BYTES);
    let names = ["", " ", "ada", "Ada", "ada ", "a{d}a", "\0", "\r\n", "\u{1F980}", "e\u{301}", "é", "*", "'", &long];
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let headers = names.map(|name| login_on(&manager, name, "phone"));
        for (name, header) in names.iter().zip(&headers) {
            assert!(manager.load(&**header).unwrap().group_name() == Some(name), "{:?}", &name[..name.len().min(20)]);
            assert_eq!(manager.group(name).len().unwrap(), 1);
        }
        for (ended, name) in names.iter().enumerate() {
            assert_eq!(manager.group(name).clear().unwrap(), 1);
            let alive: Vec<bool> = headers.iter().map(|header| is_alive(&manager, header)).collect();
            assert_eq!(alive, (0..names.len()).map(|number| number > ended).collect::<Vec<_>>());
        }
        // The same name in another application.
        let other = builder(&place.url()).namespace("other").build().unwrap();
        let (ours, theirs) = (login_on(&manager, "ada", "phone"), login_on(&other, "ada", "phone"));
        assert_eq!(manager.group("ada").clear().unwrap(), 1);
        assert!(!is_alive(&manager, &ours) && is_alive(&other, &theirs));
    }
}

#[test]
fn a_bearer_token_can_log_in_too() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let mut session = manager.load_token(None).unwrap();
        session.set("device", "app").unwrap();
        session.set_group_name("ada");
        assert_eq!(session.save().unwrap(), None);
        let token = session.token().unwrap();
        assert_eq!(manager.load_token(Some(&token)).unwrap().group_name(), Some("ada"));
        let browser = login_on(&manager, "ada", "browser");
        assert_eq!(devices(&manager.group("ada")), ["app", "browser"]);
        // Both are in one group, but a token is refused as a cookie, and a cookie as a token.
        let name = browser.split('=').next().unwrap();
        assert!(manager.load(&format!("{name}={token}")).unwrap().is_new());
        assert!(manager.load_token(Some(browser.split_once('=').unwrap().1)).unwrap().is_new());
        assert_eq!(manager.group("ada").clear().unwrap(), 2);
        assert!(manager.load_token(Some(&token)).unwrap().is_new());
    }
}

#[test]
fn a_refused_login_changes_nothing_and_can_be_made_again() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place.url()).max_session_bytes(200).build().unwrap();
        for existing in [None, Some(session_with(&manager, &[("device", "phone")]))] {
            let mut session = manager.load(existing.as_deref()).unwrap();
            session.set_group_name("ada");
            session.set("device", "phone").unwrap();
            session.set("a", &"x".repeat(100)).unwrap();
            session.set("b", &"x".repeat(100)).unwrap();
            assert!(matches!(session.save(), Err(Error::TooLarge { .. })));
            assert_eq!(devices(&manager.group("ada")), Vec::<String>::new());
            assert_eq!((session.group_name(), session.authenticated_at()), (Some("ada"), None));
            session.remove("b");
            let header = cookie(&session.save().unwrap().unwrap());
            assert_eq!(devices(&manager.group("ada")), ["phone"]);
            assert_eq!(manager.load(&header).unwrap().group_name(), Some("ada"));
            manager.group("ada").clear().unwrap();
        }
    }
}

#[test]
fn a_login_within_a_transaction_meets_the_session_as_it_was_loaded() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let header = session_with(&manager, &[("device", "phone")]);
        let mut attempts = 0;
        let (_, set_cookie) = manager
            .transact(&header, |session: &mut Session| -> Result<(), Error> {
                attempts += 1;
                if attempts == 1 {
                    let mut other = manager.load(&header)?;
                    other.set("other", &1)?;
                    other.save()?;
                }
                session.set_group_name("ada");
                Ok(())
            })
            .unwrap();
        let session = manager.load(&cookie(&set_cookie.unwrap())).unwrap();
        assert_eq!((attempts, session.group_name(), session.keys()), (2, Some("ada"), vec!["device", "other"]));
        assert_eq!(devices(&manager.group("ada")), ["phone"]);
    }
}
