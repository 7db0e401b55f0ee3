//! Transactions: changes that depend on the current values, the same on every store.

use crate::support::place::on_every_store;
use crate::support::{cookie, session_with};
use multi_process_session::Error;

#[test]
fn a_transaction_sees_no_change_of_others_between_its_load_and_its_save() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let header = session_with(&manager, &[("log", "")]);
        let mut attempts = 0;
        let result = manager.transact(&header, |session| -> Result<String, Error> {
            attempts += 1;
            if attempts <= 3 {
                let mut other = manager.load(&header)?;
                other.set("log", &attempts.to_string())?;
                other.save()?;
            }
            let text = session.get::<String>("log")?.unwrap_or_default() + "!";
            session.set("log", &text)?;
            Ok(text)
        });
        let (text, set_cookie) = result.unwrap();
        assert_eq!((text.as_str(), attempts, set_cookie), ("3!", 4, None));

        // The same with a new id.
        let mut attempts = 0;
        let (_, set_cookie) = manager
            .transact(&header, |session| -> Result<(), Error> {
                attempts += 1;
                if attempts == 1 {
                    let mut other = manager.load(&header)?;
                    other.set("meanwhile", &true)?;
                    other.save()?;
                }
                session.regenerate();
                Ok(())
            })
            .unwrap();
        assert_eq!(attempts, 2);
        let header = cookie(&set_cookie.unwrap());
        assert_eq!(manager.load(&header).unwrap().keys(), ["log", "meanwhile"]);

        // If the work fails, nothing is saved, and the answer is its error.
        let failed = manager.transact(&header, |session| -> Result<(), Box<dyn std::error::Error>> {
            session.set("half", &1)?;
            Err("no".into())
        });
        assert_eq!(failed.unwrap_err().to_string(), "no");
        assert_eq!(manager.load(&header).unwrap().keys(), ["log", "meanwhile"]);

        // The number of attempts is bounded.
        let endless = manager.transact(&header, |session| -> Result<(), Error> {
            let mut other = manager.load(&header)?;
            other.increment("others", 1)?;
            other.save()?;
            session.set("mine", &1)
        });
        assert!(matches!(endless, Err(Error::Conflict)));
    });
}

#[test]
fn a_transaction_may_save_by_itself() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let (_, set_cookie) = manager
            .transact(None, |session| -> Result<(), Error> {
                session.set("a", &1)?;
                assert!(session.save()?.is_some());
                session.set("b", &2)
            })
            .unwrap();
        let header = cookie(&set_cookie.expect("a new session has a cookie"));
        assert_eq!(manager.load(&header).unwrap().keys(), ["a", "b"]);
        let mut attempts = 0;
        manager
            .transact(&header, |session| -> Result<(), Error> {
                attempts += 1;
                if attempts == 1 {
                    let mut other = manager.load(&header)?;
                    other.set("other", &1)?;
                    other.save()?;
                }
                session.set("a", &attempts)?;
                session.save()?;
                Ok(())
            })
            .unwrap();
        assert_eq!((attempts, manager.load(&header).unwrap().get("a").unwrap()), (2, Some(2)));
    });
}

#[test]
fn a_transaction_whose_session_ends_meanwhile_starts_no_new_one() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let header = session_with(&manager, &[("user", "ada")]);
        let mut attempts = 0;
        let ended = manager.transact(&header, |session| -> Result<(), Error> {
            attempts += 1;
            let mut other = manager.load(&header)?;
            other.set("other", &attempts)?;
            other.save()?;
            session.set("mine", &1)?;
            // This save meets the other change. The next attempt would meet a session that has ended.
            let conflict = session.save();
            let _ = manager.destroy(&header)?;
            conflict.map(drop)
        });
        assert!(matches!(ended, Err(Error::Gone)), "{ended:?}");
        assert_eq!(attempts, 1);
        assert!(manager.load(&header).unwrap().is_new());
    });
}
