//! Values that a later request takes once.

use crate::error::Error;
use crate::json::{from_json, to_json};
use crate::random;
use crate::session::{Session, check_key};
use crate::store::call::Call;
use crate::store::refusal::Refusal;
use crate::store::store_trait::Store;
use crate::store::update::{Change, ChangeSet, Update};
use serde::Serialize;
use serde::de::DeserializeOwned;

impl Session {
    /// Leaves a value for a later request, which takes it once with [`take_flash`](Session::take_flash).
    ///
    /// An example is the message "saved" that is shown after a redirect. The value replaces a value of the same key
    /// that was not taken yet. Flash values have keys of their own, which [`keys`](Session::keys) does not list.
    ///
    /// # Errors
    /// Those of [`set`](Session::set), and [`Error::Randomness`].
    ///
    /// # Examples
    /// ```
    /// # use multi_process_session::{Secret, SessionManager};
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// let mut session = manager.load(None)?;
    /// session.flash("notice", "Your address was saved.")?;
    /// # let set_cookie = session.save()?.expect("a new session has a cookie");
    /// # let cookie_header = set_cookie.pair();
    ///
    /// let mut session = manager.load(cookie_header)?;
    /// assert_eq!(session.take_flash::<String>("notice")?.as_deref(), Some("Your address was saved."));
    /// assert_eq!(session.take_flash::<String>("notice")?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flash<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        check_key(key)?;
        // The mark makes this value different from any later value of the same key.
        let mark = random::nonce()?;
        let json = format!("[\"{}\",{}]", str::from_utf8(&mark).unwrap_or_default(), to_json(key, value)?);
        let value = json.into();
        self.check_value(key, &value)?;
        self.change(&flash_key(key), Change::Set(value));
        Ok(())
    }

    /// Takes a value that an earlier request left with [`flash`](Session::flash).
    ///
    /// If several requests try at once, exactly one gets the value. Call this only where the message is shown: the
    /// browser's own request for the favicon could use it up.
    ///
    /// The value is taken from the store at once, in one round trip. Within
    /// [`transact`](crate::SessionManager::transact), the value is taken when the transaction is saved. If there is no
    /// value, the store is not asked.
    ///
    /// # Errors
    /// [`Error::Decode`] if the value cannot be read as a `T`; then it stays. [`Error::Gone`] if the session has ended.
    /// [`Error::Store`].
    pub fn take_flash<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, Error> {
        let deadline = self.context.deadline();
        let answer = self.send(deadline);
        self.count_refusal(answer)?;
        let own_key = flash_key(key);
        let held = self.record.values.get(&own_key).filter(|_| !self.pending.changes.clear).cloned();
        let (Some(info), Some(held)) = (&self.record.info, held) else { return Ok(None) };
        let json = self.text(&own_key, &held)?;
        let value = json.split_once(',').and_then(|(_, value)| value.strip_suffix(']'));
        let value = from_json(key, value.unwrap_or(&json))?;
        if self.is_in_transaction() {
            // It is removed when the transaction is saved.
            self.record.values.remove(&own_key);
            self.pending.changes.keys.entry(own_key).or_insert(Change::Remove);
            return Ok(value);
        }
        let removal = ChangeSet { keys: [(own_key.clone(), Change::Remove)].into(), ..ChangeSet::default() };
        let taking = Update { holds: Some((&own_key, &held)), ..self.update_of(info, &removal) };
        let taken = self.context.store.update(&self.key(), &taking, &Call::until(deadline)?);
        match taken {
            Ok(updated) => {
                self.record.update(removal, updated);
                Ok(value)
            }
            // Another request has taken the value, or has replaced it.
            Err(Refusal::Conflict) => {
                self.record.values.remove(&own_key);
                Ok(None)
            }
            Err(refusal) => self.count_refusal(Err(refusal.into())),
        }
    }
}

/// Returns the key under which a value of `flash` is kept. No key of the application can be the same.
fn flash_key(key: &str) -> String {
    format!("\0flash:{key}")
}
