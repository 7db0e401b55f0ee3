//! Seals values, so that a store and its copies show nothing of them.
//!
//! Every session has a random data key. It seals the values of the session with AES-256-GCM-SIV (RFC 8452). The store
//! keeps the data key only sealed itself, by a key that HKDF-SHA256 (RFC 5869) derives from the session id. No store
//! knows the id. So nobody can open the values from the store alone, even with the secret of the server. The token of
//! the session is needed too: it holds the id.
//!
//! AES-256-GCM-SIV is chosen because a repeated nonce does little harm: it shows only whether two texts are equal. A
//! sealed value is 29 bytes longer than the plain one.
//!
//! | bytes | a sealed value |
//! |---|---|
//! | 1 | 1: the version of this format, and the mark of a sealed value |
//! | 12 | nonce |
//! | … | encrypted text |
//! | 16 | authentication tag |
//!
//! A sealed data key is the same, with 32 bytes of encrypted text. Each sealed text is bound to its purpose: the
//! namespace, and the key of the value. Its session is bound by the data key.

use crate::error::Error;
use crate::id::SessionId;
use crate::random;
use crate::store::stored_value::SEALED;
use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
/// The number of bytes that sealing adds.
pub(crate) const ADDED_BYTES: usize = 1 + NONCE_BYTES + 16;
/// The length of a sealed data key.
pub(crate) const SEALED_BYTES: usize = KEY_BYTES + ADDED_BYTES;

/// The key that seals the values of one session.
#[derive(Clone)]
pub(crate) struct DataKey(Zeroizing<[u8; KEY_BYTES]>);

/// The purpose of a sealed text. A text opens only for the purpose that it was sealed for.
struct Purpose<'a> {
    what: &'static str,
    namespace: &'a str,
    /// The key of the value. Empty for a data key.
    key: &'a str,
}

impl DataKey {
    /// Draws the data key of a session.
    pub(crate) fn random() -> Result<DataKey, Error> {
        random::bytes().map(|bytes| DataKey(Zeroizing::new(bytes)))
    }

    /// Seals the JSON text of a value.
    pub(crate) fn seal(&self, namespace: &str, key: &str, json: &str) -> Result<Vec<u8>, Error> {
        seal(&self.0, random::bytes()?, &Purpose { what: "value", namespace, key }, json.as_bytes())
    }

    /// Opens a sealed value. Returns `None` if it was not sealed with this data key, for this key of a session.
    pub(crate) fn open(&self, namespace: &str, key: &str, sealed: &[u8]) -> Option<String> {
        let json = open(&self.0, &Purpose { what: "value", namespace, key }, sealed)?;
        String::from_utf8(json).ok()
    }

    /// Seals the data key for this session id. Only the id opens it.
    pub(crate) fn seal_for(&self, namespace: &str, id: &SessionId) -> Result<Vec<u8>, Error> {
        seal(&derived_key(id), random::bytes()?, &Purpose { what: "data key", namespace, key: "" }, &*self.0)
    }

    /// Opens a sealed data key. Returns `None` if it was not sealed for this id.
    pub(crate) fn open_for(namespace: &str, id: &SessionId, sealed: &[u8]) -> Option<DataKey> {
        let bytes = open(&derived_key(id), &Purpose { what: "data key", namespace, key: "" }, sealed)?;
        let bytes = Zeroizing::new(bytes);
        Some(DataKey(Zeroizing::new((**bytes).try_into().ok()?)))
    }
}

/// Derives the key that seals a data key. The store knows a digest of the id, from which this key cannot be derived.
fn derived_key(id: &SessionId) -> Zeroizing<[u8; KEY_BYTES]> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let derived =
        Hkdf::<Sha256>::new(None, &id.0).expand(b"multi-process-session 1: the key of the data key", &mut *key);
    debug_assert!(derived.is_ok(), "HKDF-SHA256 gives up to 8,160 bytes");
    key
}

fn seal(key: &[u8; KEY_BYTES], nonce: [u8; NONCE_BYTES], purpose: &Purpose<'_>, text: &[u8]) -> Result<Vec<u8>, Error> {
    let payload = Payload { msg: text, aad: &purpose.bytes() };
    let encrypted = Aes256GcmSiv::new(key.into()).encrypt(&Nonce::from(nonce), payload);
    // It refuses only texts of more than 64 GiB, and `max_session_bytes` is far below.
    let encrypted = encrypted.map_err(|_| Error::Randomness("the text is too large".into()))?;
    Ok([&[SEALED], &nonce[..], &encrypted].concat())
}

fn open(key: &[u8; KEY_BYTES], purpose: &Purpose<'_>, sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, encrypted) = sealed.strip_prefix(&[SEALED])?.split_first_chunk::<NONCE_BYTES>()?;
    let payload = Payload { msg: encrypted, aad: &purpose.bytes() };
    Aes256GcmSiv::new(key.into()).decrypt(&Nonce::from(*nonce), payload).ok()
}

impl Purpose<'_> {
    /// Returns bytes that no other purpose has.
    fn bytes(&self) -> Vec<u8> {
        let length = (self.namespace.len() as u64).to_be_bytes();
        [self.what.as_bytes(), b"\0", &length, self.namespace.as_bytes(), self.key.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMESPACE: &str = "mps";
    const DATA_KEY: [u8; 32] = *b"a data key of 32 bytes, not used";
    const ID: SessionId = SessionId(*b"an id of 24 bytes, known");
    const NONCE: [u8; 12] = *b"a nonce of12";

    fn data_key() -> DataKey {
        DataKey(Zeroizing::new(DATA_KEY))
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What is stored today has to be opened by every later version. Python's `cryptography` gives the same bytes.
    #[test]
    fn the_format_stays_as_it_is() {
        let value = Purpose { what: "value", namespace: NAMESPACE, key: "user" };
        assert_eq!(
            hex(&seal(&DATA_KEY, NONCE, &value, b"\"ada\"").unwrap()),
            "0161206e6f6e6365206f663132a6656eedeff17a55bad534f69ff800e42aeda83948"
        );
        assert_eq!(hex(&*derived_key(&ID)), "8eb7951887ac3ac3eb784ffb57fbf965bb588852094cf739b3d4de207b09a6f4");
        let of_data_key = Purpose { what: "data key", namespace: NAMESPACE, key: "" };
        assert_eq!(
            hex(&seal(&derived_key(&ID), NONCE, &of_data_key, &DATA_KEY).unwrap()),
            concat!(
                "0161206e6f6e6365206f663132682a4e4ba0baf3cc7986b97c0ee3ba7db74",
                "6f0b551dc6f65d683368ec14a03649fa5636a2e44459216cfbee934f23dbb"
            )
        );
    }

    #[test]
    fn what_was_sealed_can_be_opened() {
        for json in ["", "1", &"long ".repeat(1000), "\"\u{e9}\\u0000\""] {
            let sealed = data_key().seal(NAMESPACE, "key", json).unwrap();
            assert_eq!(sealed.len(), json.len() + ADDED_BYTES);
            assert_ne!(sealed, data_key().seal(NAMESPACE, "key", json).unwrap(), "each time it has another nonce");
            assert_eq!(data_key().open(NAMESPACE, "key", &sealed).as_deref(), Some(json));
        }
        let sealed = data_key().seal_for(NAMESPACE, &ID).unwrap();
        assert_eq!(sealed.len(), SEALED_BYTES);
        assert_eq!(*DataKey::open_for(NAMESPACE, &ID, &sealed).unwrap().0, DATA_KEY);
    }

    #[test]
    fn it_opens_as_nothing_else() {
        let sealed = data_key().seal("name", "space key", "1").unwrap();
        for (namespace, key) in
            [("name", "other"), ("other", "space key"), ("names", "pace key"), ("", "namespace key")]
        {
            assert_eq!(data_key().open(namespace, key, &sealed), None, "{namespace} {key}");
        }
        assert_eq!(DataKey::random().unwrap().open("name", "space key", &sealed), None);
        let sealed = data_key().seal_for(NAMESPACE, &ID).unwrap();
        assert!(DataKey::open_for(NAMESPACE, &SessionId([0; 24]), &sealed).is_none());
        assert!(DataKey::open_for("other", &ID, &sealed).is_none());
        let key = DataKey(derived_key(&ID));
        assert_eq!(key.open(NAMESPACE, "", &sealed), None, "a data key is not a value");
    }

    #[test]
    fn every_damage_is_found() {
        let sealed = data_key().seal(NAMESPACE, "key", "\"text\"").unwrap();
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut damaged = sealed.clone();
                damaged[at] ^= 1 << bit;
                assert_eq!(data_key().open(NAMESPACE, "key", &damaged), None, "byte {at}, bit {bit}");
            }
            assert_eq!(data_key().open(NAMESPACE, "key", &sealed[..at]), None, "{at} bytes");
        }
    }
}
