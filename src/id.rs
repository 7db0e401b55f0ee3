//! The ids of sessions, and the digests by which stores and logs know sessions and groups.
//!
//! | id | what |
//! |---|---|
//! | [`SessionId`] | 24 random bytes: the secret in a token |
//! | [`PublicId`] | the first 18 bytes of the SHA-256 of a session id, for one namespace |
//! | [`GroupTag`] | the first 18 bytes of the SHA-256 of a group's name, for one namespace |

use crate::error::Error;
use crate::{base64url, random};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// The length of a session id, in bytes.
pub(crate) const ID_BYTES: usize = 24;
/// The length of a public id and of a group tag, in bytes.
pub(crate) const DIGEST_BYTES: usize = 18;

/// The secret id of a session: 192 random bits. It has no `Debug` and no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SessionId(pub(crate) [u8; ID_BYTES]);

impl SessionId {
    /// Draws the id of a new session.
    pub(crate) fn random() -> Result<SessionId, Error> {
        random::bytes().map(SessionId)
    }
}

/// A one-way digest of a session's id. It is safe in logs, lists and URLs, because it gives no access to the session.
///
/// It is also the name of the session in the store. Its text is 24 characters of URL-safe base64: `Display` and serde
/// write that text, `FromStr` and serde read it.
///
/// # Examples
/// ```
/// use multi_process_session::{PublicId, Secret, SessionManager};
///
/// let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
/// let id = manager.load(None)?.public_id();
/// assert_eq!(id.to_string().parse::<PublicId>()?, id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicId([u8; DIGEST_BYTES]);

impl PublicId {
    /// Draws the public id of a session that does not exist.
    pub(crate) fn random() -> Result<PublicId, Error> {
        random::bytes().map(PublicId)
    }

    /// Returns the bytes of the digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 18] {
        &self.0
    }

    /// Makes a public id of the bytes of the digest. Stores need this.
    #[must_use]
    pub fn from_bytes(digest: [u8; 18]) -> PublicId {
        PublicId(digest)
    }
}

impl fmt::Display for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(self.0))
    }
}

impl fmt::Debug for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicId({self})")
    }
}

impl FromStr for PublicId {
    type Err = ParsePublicIdError;

    fn from_str(text: &str) -> Result<PublicId, ParsePublicIdError> {
        base64url::decode(text.as_bytes()).map(PublicId).ok_or(ParsePublicIdError)
    }
}

impl Serialize for PublicId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PublicId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The error of a text that is not a public id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsePublicIdError;

impl fmt::Display for ParsePublicIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a public id has 24 characters of URL-safe base64")
    }
}

impl std::error::Error for ParsePublicIdError {}

/// A one-way digest of a group's name. A store keeps the sessions of one group together by it.
///
/// `Display` writes it as 24 characters of URL-safe base64, and `FromStr` reads them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupTag([u8; DIGEST_BYTES]);

impl GroupTag {
    /// Draws the tag of a group that nobody can name.
    pub(crate) fn random() -> Result<GroupTag, Error> {
        random::bytes().map(GroupTag)
    }

    /// Returns the bytes of the digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 18] {
        &self.0
    }

    /// Makes a tag of the bytes of the digest. Stores need this.
    #[must_use]
    pub fn from_bytes(digest: [u8; 18]) -> GroupTag {
        GroupTag(digest)
    }
}

impl fmt::Display for GroupTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(self.0))
    }
}

impl fmt::Debug for GroupTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupTag({self})")
    }
}

impl FromStr for GroupTag {
    type Err = ParseGroupTagError;

    fn from_str(text: &str) -> Result<GroupTag, ParseGroupTagError> {
        base64url::decode(text.as_bytes()).map(GroupTag).ok_or(ParseGroupTagError)
    }
}

/// The error of a text that is not a group tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseGroupTagError;

impl fmt::Display for ParseGroupTagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a group tag has 24 characters of URL-safe base64")
    }
}

impl std::error::Error for ParseGroupTagError {}

/// Makes the digests of one namespace. They do not depend on the secret, so a change of the secret keeps all sessions
/// and groups.
pub(crate) struct Digests {
    ids: Sha256,
    tags: Sha256,
}

impl Digests {
    pub(crate) fn new(namespace: &str) -> Digests {
        let begin = |kind: &str| {
            let length = (namespace.len() as u64).to_be_bytes();
            Sha256::new().chain_update(kind).chain_update(length).chain_update(namespace)
        };
        Digests { ids: begin("multi-process-session public id"), tags: begin("multi-process-session group") }
    }

    pub(crate) fn public_id(&self, id: &SessionId) -> PublicId {
        PublicId(shorten(self.ids.clone().chain_update(id.0)))
    }

    pub(crate) fn group_tag(&self, name: &str) -> GroupTag {
        GroupTag(shorten(self.tags.clone().chain_update(name)))
    }
}

fn shorten(digest: Sha256) -> [u8; DIGEST_BYTES] {
    let mut short = [0; DIGEST_BYTES];
    short.copy_from_slice(&digest.finalize()[..DIGEST_BYTES]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: SessionId = SessionId([7; ID_BYTES]);

    /// A changed digest ends all sessions, or loses their groups.
    #[test]
    fn digests_are_the_same_in_every_version() {
        let digests = Digests::new("mps");
        assert_eq!(digests.public_id(&ID).to_string(), "AR7H9A_cQ_iNivqJNnu2ovXw");
        assert_eq!(digests.group_tag("ada").to_string(), "srZDbXU8Menqh8dnOkHJK19c");
    }

    #[test]
    fn digests_differ_by_namespace() {
        let (one, other) = (Digests::new("mps"), Digests::new("b"));
        assert_ne!(one.public_id(&ID), other.public_id(&ID));
        assert_ne!(one.group_tag("ada"), other.group_tag("ada"));
    }

    #[test]
    fn a_digest_is_read_from_its_bytes_and_from_its_text() {
        let digests = Digests::new("mps");
        let (id, tag) = (digests.public_id(&ID), digests.group_tag("ada"));
        assert_eq!(PublicId::from_bytes(*id.as_bytes()), id);
        assert_eq!(GroupTag::from_bytes(*tag.as_bytes()), tag);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(tag.to_string().parse(), Ok(tag));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<PublicId>(&json).unwrap(), id);
    }

    #[test]
    fn any_other_text_is_not_a_digest() {
        let text = Digests::new("mps").group_tag("ada").to_string();
        for other in ["", "x", &text[1..], &format!("{text}A"), &format!("{text}="), &text.replace('s', "+")] {
            assert_eq!(other.parse::<PublicId>(), Err(ParsePublicIdError), "{other:?}");
            assert_eq!(other.parse::<GroupTag>(), Err(ParseGroupTagError), "{other:?}");
            assert!(serde_json::from_value::<PublicId>(other.into()).is_err(), "{other:?}");
        }
    }
}
