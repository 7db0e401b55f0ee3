//! Signed tokens, which carry the ids of sessions to the client and back.
//!
//! A token is the URL-safe base64 of 78 bytes, which is 104 characters with no padding and no spare bits:
//!
//! | bytes | what |
//! |---|---|
//! | 24 | session id |
//! | 18 | group tag, masked by an HMAC of the id (all zero before masking if there is no group) |
//! | 4 | when the cookie of this token ends, in seconds since 1970, big-endian (0 in a bearer token) |
//! | 32 | HMAC-SHA256 over namespace, transport, cookie name, Path, Domain, Secure, Partitioned and the bytes before |

mod csrf;
pub(crate) mod scope;

use crate::base64url;
use crate::error::Error;
use crate::id::{DIGEST_BYTES, GroupTag, ID_BYTES, SessionId};
use crate::secret::Secret;
use crate::token::scope::Scope;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const TIME_BYTES: usize = 4;
const SIGNED_BYTES: usize = ID_BYTES + DIGEST_BYTES + TIME_BYTES;
const TOKEN_BYTES: usize = SIGNED_BYTES + 32;
/// The tag in the token of a session that is not in a group.
const NO_GROUP: [u8; DIGEST_BYTES] = [0; DIGEST_BYTES];

/// Signs and verifies the tokens of one scope. The keys are set up once, so a token costs two short HMACs.
pub(crate) struct Signer {
    current: Keys,
    accepted: Vec<Keys>,
}

/// The content of a token: the id of a session, and the group that the session is in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: SessionId,
    pub(crate) tag: Option<GroupTag>,
}

/// A token that we signed.
pub(crate) struct Verified {
    pub(crate) identity: Identity,
    /// When the client's cookie ends. If the session lives longer, the cookie has to be renewed.
    pub(crate) cookie_ends_at: SystemTime,
    /// Whether an accepted secret has signed it. Then the client needs a token that the current secret signs.
    pub(crate) outdated: bool,
}

/// How a token travels. A token of one transport is refused in the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Cookie,
    /// As a bearer token, by any means that the application chooses.
    Token,
}

/// The keys of one secret in one scope.
struct Keys {
    mac: Hmac<Sha256>,
    mask: Hmac<Sha256>,
    csrf: Hmac<Sha256>,
}

impl Signer {
    pub(crate) fn new(scope: &Scope<'_>, secret: &Secret, accepted: &[Secret]) -> Signer {
        Signer {
            current: Keys::new(scope, secret),
            accepted: accepted.iter().map(|secret| Keys::new(scope, secret)).collect(),
        }
    }

    /// Makes the token of a session. A token that travels in a cookie says when the cookie ends.
    pub(crate) fn sign(&self, Identity { id, tag }: &Identity, cookie_ends_at: Option<SystemTime>) -> String {
        let keys = &self.current;
        let tag = keys.mask(id, tag.map_or(NO_GROUP, |tag| *tag.as_bytes()));
        let mut token = Vec::with_capacity(TOKEN_BYTES);
        token.extend(id.0);
        token.extend(tag);
        token.extend(cookie_ends_at.map_or(0, seconds).to_be_bytes());
        token.extend(keys.mac.clone().chain_update(&token).finalize().into_bytes());
        base64url::encode(token)
    }

    /// Reads a token. Returns `None` if we did not sign it. The comparison takes the same time for every wrong
    /// signature.
    pub(crate) fn verify(&self, token: &[u8]) -> Option<Verified> {
        let token: [u8; TOKEN_BYTES] = base64url::decode(token)?;
        let (signed, mac) = token.split_at(SIGNED_BYTES);
        let mut known = std::iter::once((&self.current, false)).chain(self.accepted.iter().map(|keys| (keys, true)));
        let (keys, outdated) =
            known.find(|(keys, _)| keys.mac.clone().chain_update(signed).verify_slice(mac).is_ok())?;
        let (id, rest) = signed.split_at(ID_BYTES);
        let (masked, time) = rest.split_at(DIGEST_BYTES);
        let id = SessionId(id.try_into().ok()?);
        let tag = keys.mask(&id, masked.try_into().ok()?);
        let tag = (tag != NO_GROUP).then_some(GroupTag::from_bytes(tag));
        let cookie_ends_at = UNIX_EPOCH + Duration::from_secs(u32::from_be_bytes(time.try_into().ok()?).into());
        Some(Verified { identity: Identity { id, tag }, cookie_ends_at, outdated })
    }
}

/// Returns a time in whole seconds since 1970, rounded up.
fn seconds(time: SystemTime) -> u32 {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since_1970.as_millis().div_ceil(1000).try_into().unwrap_or(u32::MAX)
}

impl Identity {
    /// Draws the id of a session in this group, or of one without a group.
    pub(crate) fn random(tag: Option<GroupTag>) -> Result<Identity, Error> {
        Ok(Identity { id: SessionId::random()?, tag })
    }

    /// Returns the same id with another group.
    pub(crate) fn tagged(&self, tag: Option<GroupTag>) -> Identity {
        Identity { id: self.id.clone(), tag }
    }
}

impl Keys {
    fn new(scope: &Scope<'_>, secret: &Secret) -> Keys {
        let keyed = |purpose: &str| {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
            for part in std::iter::once(purpose.as_bytes()).chain(scope.parts()) {
                mac.update(&(part.len() as u64).to_be_bytes());
                mac.update(part);
            }
            mac
        };
        Keys {
            mac: keyed("multi-process-session token"),
            mask: keyed("multi-process-session group tag"),
            csrf: keyed("multi-process-session csrf"),
        }
    }

    /// Masks a tag, or unmasks a masked one.
    fn mask(&self, id: &SessionId, mut tag: [u8; DIGEST_BYTES]) -> [u8; DIGEST_BYTES] {
        let mask = self.mask.clone().chain_update(id.0).finalize().into_bytes();
        tag.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ENDS_AT: Option<SystemTime> = Some(UNIX_EPOCH);

    fn secret(byte: u8) -> Secret {
        Secret::new([byte; 32]).unwrap()
    }

    fn identity(byte: u8, tag: Option<GroupTag>) -> Identity {
        Identity { id: SessionId([byte; ID_BYTES]), tag }
    }

    fn signer() -> Signer {
        Signer::new(&Scope::EXAMPLE, &secret(1), &[])
    }

    #[test]
    fn every_other_byte_and_every_truncation_is_refused() {
        let signer = signer();
        let token = signer.sign(&identity(7, None), ENDS_AT);
        assert_eq!(token.len(), 104);
        assert!(signer.verify(token.as_bytes()).is_some());
        for position in 0..token.len() {
            assert!(signer.verify(&token.as_bytes()[..position]).is_none());
            for byte in 0..=255 {
                let mut changed = token.clone().into_bytes();
                changed[position] = byte;
                assert_eq!(signer.verify(&changed).is_some(), byte == token.as_bytes()[position]);
            }
        }
        assert!(signer.verify(format!("{token}A").as_bytes()).is_none());
        assert!(signer.verify(format!("{token}=").as_bytes()).is_none());
    }

    #[test]
    fn a_token_of_another_scope_is_refused() {
        let token = signer().sign(&identity(7, None), ENDS_AT);
        for scope in [
            Scope { namespace: "other", ..Scope::EXAMPLE },
            Scope { transport: "token", ..Scope::EXAMPLE },
            Scope { cookie_name: "sid", ..Scope::EXAMPLE },
            Scope { path: "/app", ..Scope::EXAMPLE },
            Scope { domain: "example.com", ..Scope::EXAMPLE },
            Scope { secure: false, ..Scope::EXAMPLE },
            Scope { partitioned: true, ..Scope::EXAMPLE },
            Scope { secure: false, partitioned: true, ..Scope::EXAMPLE },
            // The same letters, divided in another way.
            Scope { namespace: "mpscookie", transport: "", ..Scope::EXAMPLE },
        ] {
            assert!(Signer::new(&scope, &secret(1), &[]).verify(token.as_bytes()).is_none());
        }
    }

    #[test]
    fn accepted_secrets_verify_but_do_not_sign() {
        let old = signer().sign(&identity(7, Some(GroupTag::from_bytes([3; DIGEST_BYTES]))), ENDS_AT);
        let rotated = Signer::new(&Scope::EXAMPLE, &secret(2), &[secret(1)]);
        let verified = rotated.verify(old.as_bytes()).unwrap();
        assert!(verified.outdated);
        assert_eq!(verified.identity.tag, Some(GroupTag::from_bytes([3; DIGEST_BYTES])));
        let new = rotated.sign(&verified.identity, ENDS_AT);
        assert_ne!(new, old);
        assert!(!rotated.verify(new.as_bytes()).unwrap().outdated);
        assert!(Signer::new(&Scope::EXAMPLE, &secret(2), &[]).verify(old.as_bytes()).is_none());
    }

    /// A changed token logs everyone out.
    #[test]
    fn tokens_are_the_same_in_every_version() {
        let signer = signer();
        let id = identity(7, None);
        let ends_at = Some(UNIX_EPOCH + Duration::from_secs(1_900_000_000));
        let ada = "srZDbXU8Menqh8dnOkHJK19c".parse().unwrap();
        assert_eq!(
            signer.sign(&id, ends_at),
            "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHsRwb_nW1QKuJ2vgI1HDh3IHQcT-zAB7x-BZhF6_gxajlkmqlI60W2pfB6n91w23S6DAayDZp"
        );
        assert_eq!(
            signer.sign(&id.tagged(Some(ada)), ends_at),
            "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHA6pYkwCJcUJjXT9v7jEo996McT-zANpF6xzaqkboaHS7H6WhRZzFXIsO9zrR4GyjLOSOlsrU"
        );
        assert_eq!(
            Signer::new(&Scope::of_bearer_tokens("mps"), &secret(1), &[]).sign(&id, None),
            "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHPHev5JSDipfQmRq2XCOCCKRrAAAAAOFH5P6SuWfTdFWDZsizAG6ueje-f6U7FSQuZwrnw4wy"
        );
    }

    #[test]
    fn a_token_says_when_its_cookie_ends() {
        let ends_at = |time: SystemTime| {
            let verified = signer().verify(signer().sign(&identity(7, None), Some(time)).as_bytes()).unwrap();
            verified.cookie_ends_at.duration_since(UNIX_EPOCH).unwrap()
        };
        let after = |time| UNIX_EPOCH + time;
        let second = Duration::from_secs(1);
        assert_eq!(ends_at(after(1_900_000_000 * second)), 1_900_000_000 * second);
        // Rounded up: a cookie that is just old enough counts as such.
        assert_eq!(ends_at(after(8 * second + Duration::from_millis(1))), 9 * second);
        assert_eq!(ends_at(UNIX_EPOCH - second), Duration::ZERO);
        assert_eq!(ends_at(after(u32::MAX * second) + 9 * second), u32::MAX * second);
        assert_eq!(signer().sign(&identity(7, None), None), signer().sign(&identity(7, None), Some(UNIX_EPOCH)));
    }

    #[test]
    fn a_changed_tag_is_masked_beyond_recognition() {
        let signer = signer();
        let tag = |token: String| {
            base64url::decode::<TOKEN_BYTES>(token.as_bytes()).unwrap()[ID_BYTES..ID_BYTES + DIGEST_BYTES].to_vec()
        };
        for group in [None, Some(GroupTag::from_bytes([9; DIGEST_BYTES]))] {
            assert_ne!(tag(signer.sign(&identity(1, group), ENDS_AT)), tag(signer.sign(&identity(2, group), ENDS_AT)));
        }
    }

    proptest! {
        #[test]
        fn what_was_signed_verifies_as_it_was(id: [u8; ID_BYTES], tag: Option<[u8; DIGEST_BYTES]>) {
            let tag = tag.filter(|tag| *tag != NO_GROUP).map(GroupTag::from_bytes);
            let identity = Identity { id: SessionId(id), tag };
            let token = signer().sign(&identity, ENDS_AT);
            prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
            let verified = signer().verify(token.as_bytes()).unwrap();
            prop_assert!(verified.identity == identity);
            prop_assert!(!verified.outdated);
        }

        #[test]
        fn anything_else_is_refused(token: Vec<u8>) {
            prop_assert!(signer().verify(&token).is_none());
        }

        #[test]
        fn anything_else_of_the_right_shape_is_refused(token in "[A-Za-z0-9_-]{104}") {
            prop_assert!(signer().verify(token.as_bytes()).is_none());
        }
    }
}
