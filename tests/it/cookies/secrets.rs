//! How secrets are changed without logging anyone out.

use crate::support::place::Place;
use crate::support::redis::Redis;
use crate::support::{builder, cookie, is_alive, login, manager, secret, session_with};
use multi_process_session::{Secret, SessionManager};

#[test]
fn an_accepted_secret_verifies_and_is_signed_anew() {
    for place in Place::all() {
        let old_secret = Secret::new("the secret of yesterday, of 32 bytes").unwrap();
        let old = SessionManager::builder(old_secret.clone()).store_url(&place.url()).secure(false).build().unwrap();
        let manager = builder(&place.url()).accept_secret(old_secret).build().unwrap();
        let header = session_with(&old, &[("a", "1")]);
        let mut session = manager.load(&header).unwrap();
        assert!(!session.is_new());
        let renewed = cookie(&session.save().unwrap().expect("signed anew"));
        assert_ne!(renewed, header);
        assert_eq!(manager.load(&renewed).unwrap().save().unwrap(), None);
        assert!(old.load(&renewed).unwrap().is_new(), "the old workers do not know the new secret");
        // Both cookies at once are those of one session, and the newer signature counts.
        let both = format!("{header}; {renewed}");
        assert_eq!(manager.load(&both).unwrap().save().unwrap(), None);
        assert!(!manager.load(&both).unwrap().is_new());
    }
}

#[test]
fn a_secret_is_changed_worker_by_worker_without_logging_anyone_out() {
    let redis = Redis::start();
    let [old, new] = [1, 2].map(|byte| Secret::new([byte; 32]).unwrap());
    let worker = |signs: &Secret, accepts: Option<&Secret>| {
        let builder = SessionManager::builder(signs.clone()).store_url(&redis.url()).secure(false);
        accepts.into_iter().fold(builder, |builder, secret| builder.accept_secret(secret.clone())).build().unwrap()
    };
    // Two workers, one of which is a step ahead.
    let steps = [
        [worker(&old, None), worker(&old, Some(&new))],
        [worker(&old, Some(&new)), worker(&old, Some(&new))],
        [worker(&old, Some(&new)), worker(&new, Some(&old))],
        [worker(&new, Some(&old)), worker(&new, Some(&old))],
        [worker(&new, Some(&old)), worker(&new, None)],
    ];
    let mut browser = session_with(&steps[0][0], &[("user", "ada")]);
    for (step, workers) in steps.iter().enumerate() {
        for request in 0..4 {
            let mut session = workers[request % 2].load(&browser).unwrap();
            assert!(!session.is_new(), "step {step}, request {request}");
            if let Some(renewed) = session.save().unwrap() {
                browser = cookie(&renewed);
            }
        }
    }
}

#[test]
fn a_secret_can_be_changed_under_a_group() {
    for place in Place::all_and_a_cluster() {
        let old = manager(&place.url());
        let header = login(&old, "ada");
        let new = SessionManager::builder(Secret::new("a newer secret of the tests, of 32 bytes").unwrap())
            .store_url(&place.url())
            .secure(false)
            .accept_secret(secret())
            .build()
            .unwrap();
        let mut session = new.load(&header).unwrap();
        assert_eq!(session.group_name(), Some("ada"));
        let renewed = cookie(&session.save().unwrap().expect("signed anew"));
        assert_ne!(renewed, header);
        assert_eq!(new.load(&renewed).unwrap().group_name(), Some("ada"));
        assert_eq!(new.group("ada").clear().unwrap(), 1, "the group does not depend on the secret");
        assert!(!is_alive(&new, &renewed) && !is_alive(&old, &header));
    }
}
