//! Session ids, and the signed tokens that carry them.
//!
//! A token is the URL-safe base64 of 75 bytes, hence 100 characters with no padding and no spare bits:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, 1 |
//! | 24 | session id |
//! | 18 | group tag, masked by an HMAC of the id (all zero before masking where there is no group) |
//! | 32 | HMAC-SHA256 over namespace, transport, cookie name, Path, Domain, Secure, Partitioned and the bytes before |

use crate::error::{ConfigError, Error};
use crate::random;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const ID: usize = 24;
const DIGEST: usize = 18;
const MAC: usize = 32;
const CSRF: usize = 24;
const SIGNED: usize = 1 + ID + DIGEST;
const TOKEN: usize = SIGNED + MAC;

/// The key that signs tokens: at least 32 random bytes.
///
/// Every worker of an application needs the same one, so it belongs into the configuration, not into the code.
/// `Debug` does not show it.
///
/// # Security
/// Whoever has the secret can sign a token for any session id; they would still have to guess an id of 192 random
/// bits that is alive. OWASP ASVS 7.2.3 asks for tokens of at least 128 bits of entropy.
///
/// A secret, and the keys that a manager derives from it, are overwritten in memory when they are dropped. Three things
/// are not: the text or bytes that the application passes to [`Secret::new`], copies that remain on the stack where
/// a value was moved or a key set up, and memory that was swapped out.
///
/// # Examples
/// ```
/// use multi_process_session::Secret;
///
/// let secret = Secret::new("0123456789abcdef0123456789abcdef")?;
/// assert!(Secret::new("too short").is_err());
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// # Ok::<(), multi_process_session::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The shortest secret that is accepted, in bytes: as long as the hash, as RFC 2104 advises.
    pub const MIN_BYTES: usize = 32;

    /// A secret from these bytes, taken as they are.
    ///
    /// # Errors
    /// [`ConfigError::SecretTooShort`] for fewer than 32 bytes.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Secret, ConfigError> {
        let bytes = bytes.as_ref();
        if bytes.len() < Secret::MIN_BYTES {
            return Err(ConfigError::SecretTooShort { bytes: bytes.len() });
        }
        Ok(Secret(Zeroizing::new(bytes.to_vec())))
    }

    /// A secret of 32 bytes from the operating system's generator.
    ///
    /// For tests and for programs whose sessions may end with them: call it once, before forking, so that all workers
    /// share it. Whoever restarts with another secret logs everyone out.
    ///
    /// # Errors
    /// [`ConfigError::Randomness`] where the operating system gives no random bytes.
    pub fn generate() -> Result<Secret, ConfigError> {
        match random::bytes::<{ Secret::MIN_BYTES }>() {
            Ok(bytes) => Secret::new(Zeroizing::new(bytes)),
            Err(Error::Randomness(source)) => Err(ConfigError::Randomness(source)),
            Err(other) => Err(ConfigError::Randomness(Box::new(other))),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The secret name of a session: 192 random bits. It has no `Debug` and no `Display`.
#[derive(Clone, PartialEq, Eq)]
struct SessionId([u8; ID]);

/// A one-way digest of a session's id: safe for logs, lists and URLs, useless for getting into the session.
///
/// It is also the session's name in the store. It shows as 24 characters of URL-safe base64, and parses from them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicId([u8; DIGEST]);

impl PublicId {
    /// Of no session.
    pub(crate) fn random() -> Result<PublicId, Error> {
        random::bytes().map(PublicId)
    }

    /// The digest itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 18] {
        &self.0
    }

    /// From the digest itself: for stores.
    #[must_use]
    pub fn from_bytes(digest: [u8; 18]) -> PublicId {
        PublicId(digest)
    }
}

impl fmt::Display for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicId({self})")
    }
}

/// The text is no public id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsePublicIdError;

impl fmt::Display for ParsePublicIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a public id has 24 characters of URL-safe base64")
    }
}

impl std::error::Error for ParsePublicIdError {}

impl FromStr for PublicId {
    type Err = ParsePublicIdError;

    fn from_str(text: &str) -> Result<PublicId, ParsePublicIdError> {
        decode(text.as_bytes()).map(PublicId).ok_or(ParsePublicIdError)
    }
}

/// A one-way digest of a group's name. Sessions of one group, and the group itself, are kept together by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupTag([u8; DIGEST]);

impl GroupTag {
    const NONE: [u8; DIGEST] = [0; DIGEST];

    /// Of no group.
    pub(crate) fn random() -> Result<GroupTag, Error> {
        random::bytes().map(GroupTag)
    }

    /// The digest itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 18] {
        &self.0
    }
}

impl fmt::Display for GroupTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// What a token says: which session, and in which group it is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    id: SessionId,
    pub(crate) tag: Option<GroupTag>,
}

impl Identity {
    /// Of a session that does not exist yet.
    pub(crate) fn random(tag: Option<GroupTag>) -> Result<Identity, Error> {
        Ok(Identity { id: SessionId(random::bytes()?), tag })
    }

    /// The same session, in this group.
    pub(crate) fn tagged(&self, tag: Option<GroupTag>) -> Identity {
        Identity { id: self.id.clone(), tag }
    }
}

/// How a token travels. What came in one way is refused in the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Cookie,
    /// As a bearer token, by whatever means the application chooses.
    Token,
}

/// A token that verified.
pub(crate) struct Verified {
    pub(crate) identity: Identity,
    /// Verified by an accepted secret, not by the one that signs: it is to be signed anew.
    pub(crate) outdated: bool,
}

/// What a token is bound to, besides the session: with another of these it does not verify.
///
/// These are the settings that say which cookie it is and who may have seen it. A browser keeps a partitioned cookie
/// beside one that is not, so one of the two has to be worthless; and what went over plain http is not good for https.
/// `HttpOnly`, `SameSite` and `Max-Age` are not among them: a browser replaces a cookie that differs in these alone.
pub(crate) struct Scope<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) transport: &'a str,
    pub(crate) cookie_name: &'a str,
    pub(crate) path: &'a str,
    pub(crate) domain: &'a str,
    pub(crate) secure: bool,
    pub(crate) partitioned: bool,
}

impl Scope<'_> {
    /// Its parts in a fixed order. The parts of two different scopes differ.
    fn parts(&self) -> [&[u8]; 7] {
        let flag = |set: bool| if set { &[1][..] } else { &[0] };
        [
            self.namespace.as_bytes(),
            self.transport.as_bytes(),
            self.cookie_name.as_bytes(),
            self.path.as_bytes(),
            self.domain.as_bytes(),
            flag(self.secure),
            flag(self.partitioned),
        ]
    }
}

/// Signs and verifies tokens of one scope. The keys are set up once; a token costs two short HMACs.
pub(crate) struct Signer {
    current: Keys,
    accepted: Vec<Keys>,
    ids: Sha256,
    tags: Sha256,
}

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
            ids: digests("multi-process-session public id", scope.namespace),
            tags: digests("multi-process-session group", scope.namespace),
        }
    }

    /// The token for this session.
    pub(crate) fn sign(&self, Identity { id, tag }: &Identity) -> String {
        let keys = &self.current;
        let mut token = [0; TOKEN];
        token[0] = VERSION;
        token[1..=ID].copy_from_slice(&id.0);
        token[1 + ID..SIGNED].copy_from_slice(&keys.mask(id, tag.map_or(GroupTag::NONE, |tag| tag.0)));
        let (signed, mac) = token.split_at_mut(SIGNED);
        mac.copy_from_slice(&keys.mac.clone().chain_update(signed).finalize().into_bytes());
        URL_SAFE_NO_PAD.encode(token)
    }

    /// The session that a token names, if we signed it. The comparison takes the same time for every MAC.
    pub(crate) fn verify(&self, token: &[u8]) -> Option<Verified> {
        let token: [u8; TOKEN] = decode(token)?;
        let (signed, mac) = token.split_at(SIGNED);
        if signed[0] != VERSION {
            return None;
        }
        let mut known = std::iter::once((&self.current, false)).chain(self.accepted.iter().map(|keys| (keys, true)));
        let (keys, outdated) =
            known.find(|(keys, _)| keys.mac.clone().chain_update(signed).verify_slice(mac).is_ok())?;
        let mut id = SessionId([0; ID]);
        id.0.copy_from_slice(&signed[1..=ID]);
        let mut masked = [0; DIGEST];
        masked.copy_from_slice(&signed[1 + ID..]);
        let tag = keys.mask(&id, masked);
        let tag = (tag != GroupTag::NONE).then_some(GroupTag(tag));
        Some(Verified { identity: Identity { id, tag }, outdated })
    }

    /// A token that only pages of this session know, against cross-site request forgery. It is masked anew each time, so
    /// that a page that is compressed together with what an attacker sends leaks nothing of it (the BREACH attack).
    pub(crate) fn csrf_token(&self, id: &PublicId) -> Result<String, Error> {
        let mac = self.current.csrf.clone().chain_update(id.0).finalize().into_bytes();
        let mut token = [0; 2 * CSRF];
        let (pad, masked) = token.split_at_mut(CSRF);
        pad.copy_from_slice(&random::bytes::<CSRF>()?);
        masked.iter_mut().zip(&*pad).zip(&mac).for_each(|((byte, pad), mac)| *byte = pad ^ mac);
        Ok(URL_SAFE_NO_PAD.encode(token))
    }

    /// Whether this is such a token of the session, in the same time for every wrong one.
    pub(crate) fn verify_csrf(&self, id: &PublicId, token: &[u8]) -> bool {
        let Some(mut token) = decode::<{ 2 * CSRF }>(token) else { return false };
        let (pad, mac) = token.split_at_mut(CSRF);
        mac.iter_mut().zip(&*pad).for_each(|(byte, pad)| *byte ^= pad);
        let is_by = |keys: &Keys| keys.csrf.clone().chain_update(id.0).verify_truncated_left(mac).is_ok();
        is_by(&self.current) || self.accepted.iter().any(is_by)
    }

    pub(crate) fn public_id(&self, identity: &Identity) -> PublicId {
        PublicId(shorten(&self.ids.clone().chain_update(identity.id.0).finalize()))
    }

    pub(crate) fn group_tag(&self, name: &str) -> GroupTag {
        GroupTag(shorten(&self.tags.clone().chain_update(name).finalize()))
    }
}

impl Keys {
    fn new(scope: &Scope<'_>, secret: &Secret) -> Keys {
        let keyed = |purpose: &str| {
            let mut mac = Hmac::<Sha256>::new_from_slice(&secret.0).expect("HMAC takes keys of any length");
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
    fn mask(&self, id: &SessionId, mut tag: [u8; DIGEST]) -> [u8; DIGEST] {
        let mask = self.mask.clone().chain_update(id.0).finalize().into_bytes();
        tag.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        tag
    }
}

/// Begins digests of one kind, in one namespace.
fn digests(kind: &str, namespace: &str) -> Sha256 {
    Sha256::new()
        .chain_update(kind)
        .chain_update((namespace.len() as u64).to_be_bytes())
        .chain_update(namespace.as_bytes())
}

fn shorten(hash: &[u8]) -> [u8; DIGEST] {
    let mut short = [0; DIGEST];
    short.copy_from_slice(&hash[..DIGEST]);
    short
}

/// Decodes exactly `N` bytes. As all lengths are multiples of three, no two texts decode to the same bytes.
fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != N / 3 * 4 {
        return None;
    }
    let mut bytes = [0; N];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    (length == N).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SCOPE: Scope<'_> = Scope {
        namespace: "mps",
        transport: "cookie",
        cookie_name: "__Host-sid",
        path: "/",
        domain: "",
        secure: true,
        partitioned: false,
    };

    fn secret(byte: u8) -> Secret {
        Secret::new([byte; 32]).unwrap()
    }

    fn identity(byte: u8, tag: Option<GroupTag>) -> Identity {
        Identity { id: SessionId([byte; ID]), tag }
    }

    fn signer() -> Signer {
        Signer::new(&SCOPE, &secret(1), &[])
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
            Scope { namespace: "other", ..SCOPE },
            Scope { transport: "token", ..SCOPE },
            Scope { cookie_name: "sid", ..SCOPE },
            Scope { path: "/app", ..SCOPE },
            Scope { domain: "example.com", ..SCOPE },
            Scope { secure: false, ..SCOPE },
            Scope { partitioned: true, ..SCOPE },
            Scope { secure: false, partitioned: true, ..SCOPE },
            // The same letters, divided in another way.
            Scope { namespace: "mpscookie", transport: "", ..SCOPE },
        ] {
            assert!(Signer::new(&scope, &secret(1), &[]).verify(token.as_bytes()).is_none());
        }
    }

    #[test]
    fn accepted_secrets_verify_but_do_not_sign() {
        let old = signer().sign(&identity(7, Some(GroupTag([3; DIGEST]))));
        let rotated = Signer::new(&SCOPE, &secret(2), &[secret(1)]);
        let verified = rotated.verify(old.as_bytes()).unwrap();
        assert!(verified.outdated);
        assert_eq!(verified.identity.tag, Some(GroupTag([3; DIGEST])));
        let new = rotated.sign(&verified.identity);
        assert_ne!(new, old);
        assert!(!rotated.verify(new.as_bytes()).unwrap().outdated);
        assert!(Signer::new(&SCOPE, &secret(2), &[]).verify(old.as_bytes()).is_none());
    }

    #[test]
    fn public_ids_differ_by_namespace_and_do_not_depend_on_the_secret() {
        let id = identity(7, None);
        let public = signer().public_id(&id);
        assert_eq!(Signer::new(&SCOPE, &secret(2), &[]).public_id(&id), public);
        assert_ne!(Signer::new(&Scope { namespace: "b", ..SCOPE }, &secret(1), &[]).public_id(&id), public);
        assert_eq!(public.to_string().parse(), Ok(public));
        assert_eq!("x".parse::<PublicId>(), Err(ParsePublicIdError));
    }

    #[test]
    fn what_holds_a_secret_is_overwritten_when_it_is_dropped() {
        fn is_overwritten<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        is_overwritten(&secret(1).0);
        // An HMAC consists of states of its hash, and has nothing of its own to overwrite.
        is_overwritten(&Sha256::new());
    }

    /// Whatever changes one of these logs everyone out, loses their groups, or breaks the forms that are open.
    #[test]
    fn tokens_and_digests_are_the_same_in_every_version() {
        let signer = signer();
        let id = identity(7, None);
        let public = signer.public_id(&id);
        let ada = signer.group_tag("ada");
        assert_eq!(public.to_string(), "AR7H9A_cQ_iNivqJNnu2ovXw");
        assert_eq!(ada.to_string(), "srZDbXU8Menqh8dnOkHJK19c");
        assert_eq!(
            signer.sign(&id),
            "AQcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHB7EcG_51tUCridr4CNRw4dyB0Nk7b_atE6PS0R3w5JJVz9WOmZ_PJcPZWbzv7kIjl5YP"
        );
        assert_eq!(
            signer.sign(&id.tagged(Some(ada))),
            "AQcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwOqWJMAiXFCY10_b-4xKPfejCm4PO2jbok72OHyKEyZdudkN_bspHyinLv1BA61Sod5"
        );
        assert!(signer.verify_csrf(&public, b"VVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVX0zpXsAvnAmGI-RtraCuA2PJqHyVhXR0"));
        let of_tokens = Scope { transport: "token", cookie_name: "", path: "", secure: false, ..SCOPE };
        assert_eq!(
            Signer::new(&of_tokens, &secret(1), &[]).sign(&id),
            "AQcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBzx3r-SUg4qX0Jkatlwjggikaw1kd9zj2hZawaKXGn5e2ZnV-YQ0NEbCW046ZEnTdOtc"
        );
    }

    #[test]
    fn a_changed_tag_is_masked_beyond_recognition() {
        let signer = signer();
        let tag = |token: String| URL_SAFE_NO_PAD.decode(token).unwrap()[1 + ID..SIGNED].to_vec();
        for group in [None, Some(GroupTag([9; DIGEST]))] {
            assert_ne!(tag(signer.sign(&identity(1, group))), tag(signer.sign(&identity(2, group))));
        }
    }

    proptest! {
        #[test]
        fn what_was_signed_verifies_as_it_was(id: [u8; ID], tag in proptest::option::of(any::<[u8; DIGEST]>())) {
            let tag = tag.filter(|tag| *tag != GroupTag::NONE).map(GroupTag);
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
