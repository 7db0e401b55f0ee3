//! Signed tokens, which carry the ids of sessions to the client and back.
//!
//! A token is the URL-safe base64 of 75 bytes, which is 100 characters with no padding and no spare bits:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, 1 |
//! | 24 | session id |
//! | 18 | group tag, masked by an HMAC of the id (all zero before masking if there is no group) |
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

const VERSION: u8 = 1;
const SIGNED_BYTES: usize = 1 + ID_BYTES + DIGEST_BYTES;
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

    /// Makes the token of a session.
    pub(crate) fn sign(&self, Identity { id, tag }: &Identity) -> String {
        let keys = &self.current;
        let mut token = [0; TOKEN_BYTES];
        let (signed, mac) = token.split_at_mut(SIGNED_BYTES);
        signed[0] = VERSION;
        signed[1..=ID_BYTES].copy_from_slice(&id.0);
        signed[1 + ID_BYTES..].copy_from_slice(&keys.mask(id, tag.map_or(NO_GROUP, |tag| *tag.as_bytes())));
        mac.copy_from_slice(&keys.mac.clone().chain_update(signed).finalize().into_bytes());
        base64url::encode(token)
    }

    /// Reads a token. Gives `None` if we did not sign it. The comparison takes the same time for every wrong signature.
    pub(crate) fn verify(&self, token: &[u8]) -> Option<Verified> {
        let token: [u8; TOKEN_BYTES] = base64url::decode(token)?;
        let (signed, mac) = token.split_at(SIGNED_BYTES);
        if signed[0] != VERSION {
            return None;
        }
        let mut known = std::iter::once((&self.current, false)).chain(self.accepted.iter().map(|keys| (keys, true)));
        let (keys, outdated) =
            known.find(|(keys, _)| keys.mac.clone().chain_update(signed).verify_slice(mac).is_ok())?;
        let (id, masked) = signed[1..].split_at(ID_BYTES);
        let id = SessionId(id.try_into().ok()?);
        let tag = keys.mask(&id, masked.try_into().ok()?);
        let tag = (tag != NO_GROUP).then_some(GroupTag::from_bytes(tag));
        Some(Verified { identity: Identity { id, tag }, outdated })
    }
}

impl Identity {
    /// Draws the id of a session in this group, or of one without a group.
    pub(crate) fn random(tag: Option<GroupTag>) -> Result<Identity, Error> {
        Ok(Identity { id: SessionId::random()?, tag })
    }

    /// Gives the same id with another group.
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
        let token = signer.sign(&identity(7, None));
        assert_eq!(token.len(), 100);
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
        let token = signer().sign(&identity(7, None));
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
        let old = signer().sign(&identity(7, Some(GroupTag::from_bytes([3; DIGEST_BYTES]))));
        let rotated = Signer::new(&Scope::EXAMPLE, &secret(2), &[secret(1)]);
        let verified = rotated.verify(old.as_bytes()).unwrap();
        assert!(verified.outdated);
        assert_eq!(verified.identity.tag, Some(GroupTag::from_bytes([3; DIGEST_BYTES])));
        let new = rotated.sign(&verified.identity);
        assert_ne!(new, old);
        assert!(!rotated.verify(new.as_bytes()).unwrap().outdated);
        assert!(Signer::new(&Scope::EXAMPLE, &secret(2), &[]).verify(old.as_bytes()).is_none());
    }

    /// A changed token logs everyone out.
    #[test]
    fn tokens_are_the_same_in_every_version() {
        let signer = signer();
        let id = identity(7, None);
        let ada = "srZDbXU8Menqh8dnOkHJK19c".parse().unwrap();
        assert_eq!(
            signer.sign(&id),
            "AQcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHB7EcG_51tUCridr4CNRw4dyB0Nk7b_atE6PS0R3w5JJVz9WOmZ_PJcPZWbzv7kIjl5YP"
        );
        assert_eq!(
            signer.sign(&id.tagged(Some(ada))),
            "AQcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwOqWJMAiXFCY10_b-4xKPfejCm4PO2jbok72OHyKEyZdudkN_bspHyinLv1BA61Sod5"
        );
        assert_eq!(
            Signer::new(&Scope::of_bearer_tokens("mps"), &secret(1), &[]).sign(&id),
            "AQcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBzx3r-SUg4qX0Jkatlwjggikaw1kd9zj2hZawaKXGn5e2ZnV-YQ0NEbCW046ZEnTdOtc"
        );
    }

    #[test]
    fn a_changed_tag_is_masked_beyond_recognition() {
        let signer = signer();
        let tag = |token: String| {
            base64url::decode::<TOKEN_BYTES>(token.as_bytes()).unwrap()[1 + ID_BYTES..SIGNED_BYTES].to_vec()
        };
        for group in [None, Some(GroupTag::from_bytes([9; DIGEST_BYTES]))] {
            assert_ne!(tag(signer.sign(&identity(1, group))), tag(signer.sign(&identity(2, group))));
        }
    }

    proptest! {
        #[test]
        fn what_was_signed_verifies_as_it_was(id: [u8; ID_BYTES], tag: Option<[u8; DIGEST_BYTES]>) {
            let tag = tag.filter(|tag| *tag != NO_GROUP).map(GroupTag::from_bytes);
            let identity = Identity { id: SessionId(id), tag };
            let token = signer().sign(&identity);
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
        fn anything_else_of_the_right_shape_is_refused(token in "[A-Za-z0-9_-]{100}") {
            prop_assert!(signer().verify(token.as_bytes()).is_none());
        }
    }
}
