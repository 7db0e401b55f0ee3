//! The parts that a manager shares with its sessions and groups.

use crate::cookie::{CookieSettings, SetCookie};
use crate::deadline::Deadline;
use crate::end_reason::{EndReason, SessionEnd};
use crate::error::Error;
use crate::group_limit::GroupLimit;
use crate::id::{Digests, GroupTag, PublicId};
use crate::lifetime::Lifetime;
use crate::store::call::Call;
use crate::store::counted::CountedStore;
use crate::store::key::{GroupKey, RecordKey};
use crate::store::record::Size;
use crate::store::stats::Counter;
use crate::store::store_trait::Store;
use crate::throttle::Throttle;
use crate::token::{Identity, Signer};
#[cfg(feature = "seal")]
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

/// The store, the signers and the settings of a manager. All its sessions and groups share them.
pub(crate) struct Context {
    pub(crate) store: CountedStore,
    pub(crate) namespace: String,
    pub(crate) digests: Digests,
    pub(crate) cookie_signer: Signer,
    pub(crate) token_signer: Signer,
    pub(crate) cookie: CookieSettings,
    pub(crate) limits: Limits,
    pub(crate) operation_timeout: Duration,
    pub(crate) lines: ThrottledLines,
    pub(crate) on_end: Option<EndHook>,
    #[cfg(feature = "seal")]
    pub(crate) sealing: Sealing,
}

/// Which values are sealed.
#[cfg(feature = "seal")]
#[derive(Clone, Debug, Default)]
pub(crate) struct Sealing {
    pub(crate) is_on: bool,
    pub(crate) readable: BTreeSet<String>,
}

#[cfg(feature = "seal")]
impl Sealing {
    /// Returns whether the value of a key is sealed.
    pub(crate) fn is_sealed(&self, key: &str) -> bool {
        self.is_on && !self.readable.contains(key)
    }
}

/// The application's function that is called for each session that this process ends.
pub(crate) type EndHook = Box<dyn Fn(&SessionEnd) + Send + Sync>;

/// The log lines that a client can cause as often as it likes. Each of them is written at most once a minute.
#[derive(Default)]
pub(crate) struct ThrottledLines {
    pub(crate) many_cookies: Throttle,
    pub(crate) several_sessions: Throttle,
    pub(crate) unsaved: Throttle,
    pub(crate) unsent_cookie: Throttle,
    pub(crate) no_form_token: Throttle,
}

/// The limits of all sessions of a manager.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) lifetime: Lifetime,
    pub(crate) unconfirmed_timeout: Duration,
    pub(crate) size_limit: Size,
    pub(crate) group_limit: Option<GroupLimit>,
}

impl Context {
    /// Counts one event in the statistics.
    pub(crate) fn count(&self, counter: Counter) {
        self.store.add(counter, 1);
    }

    /// Ends a session, and says whether it was alive.
    pub(crate) fn end(&self, key: &RecordKey<'_>, reason: EndReason, call: &Call) -> Result<bool, Error> {
        let ended = self.store.delete(key, reason, call)?;
        self.tell_ends(ended.as_slice(), reason);
        Ok(ended.is_some())
    }

    /// Tells the application's hook about sessions that this process has ended.
    pub(crate) fn tell_ends(&self, ids: &[PublicId], reason: EndReason) {
        if let Some(hook) = &self.on_end {
            ids.iter().for_each(|id| hook(&SessionEnd { public_id: *id, reason }));
        }
    }

    /// Returns the deadline of an operation that begins now.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::after(self.operation_timeout)
    }

    pub(crate) fn public_id(&self, identity: &Identity) -> PublicId {
        self.digests.public_id(&identity.id)
    }

    /// Returns the key of the record of a session.
    pub(crate) fn key(&self, identity: &Identity) -> RecordKey<'_> {
        RecordKey { namespace: &self.namespace, tag: identity.tag, id: self.public_id(identity) }
    }

    pub(crate) fn group_tag(&self, name: &str) -> GroupTag {
        self.digests.group_tag(name)
    }

    pub(crate) fn group_key(&self, tag: GroupTag) -> GroupKey<'_> {
        GroupKey { namespace: &self.namespace, tag }
    }

    /// Makes the cookie of a session: for how long it lives from now, and when that ends by the store's clock.
    pub(crate) fn cookie(
        &self,
        identity: &Identity,
        life: Duration,
        ends_at: SystemTime,
        persistent: Option<bool>,
    ) -> SetCookie {
        let token = self.cookie_signer.sign(identity, Some(ends_at));
        self.cookie.carry(token, life, persistent.unwrap_or(self.cookie.persistent))
    }

    /// Makes the bearer token of a session.
    pub(crate) fn token(&self, identity: &Identity) -> String {
        self.token_signer.sign(identity, None)
    }

    /// Makes a form token of a session. Sessions of bearer tokens use the key of the cookies too.
    pub(crate) fn csrf_token(&self, id: &PublicId) -> Result<String, Error> {
        self.cookie_signer.csrf_token(id)
    }

    pub(crate) fn verify_csrf(&self, id: &PublicId, token: &str) -> bool {
        self.cookie_signer.verify_csrf(id, token.as_bytes())
    }

    pub(crate) fn removal_cookie(&self) -> SetCookie {
        self.cookie.removal()
    }
}
