//! Random bytes, straight from the operating system.
//!
//! A fork would copy a generator that is inside the process, and every child would draw the same bytes.

use crate::error::Error;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRng;
use rand::rngs::SysRng;

/// Draws `N` random bytes.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).map_err(|error| Error::Randomness(Box::new(error)))?;
    Ok(bytes)
}

/// Draws a nonce: 8 random characters of base64. It is text, because Redis may repeat it in an error.
pub(crate) fn nonce() -> Result<[u8; 8], Error> {
    let mut nonce = [0; 8];
    let encoded = URL_SAFE_NO_PAD.encode_slice(bytes::<6>()?, &mut nonce);
    debug_assert_eq!(encoded, Ok(nonce.len()));
    Ok(nonce)
}
