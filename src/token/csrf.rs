//! Form tokens, against cross-site request forgery. Only the pages of the session know its form tokens.
//!
//! A form token is the URL-safe base64 of 48 bytes, which is 64 characters:
//!
//! | bytes | what |
//! |---|---|
//! | 24 | a random mask |
//! | 24 | the first bytes of the HMAC-SHA256 of the public id, under a key of its own, XORed with the mask |
//!
//! The mask is new each time. An attacker may be able to put a text into a page and to see the compressed size of the
//! page (the BREACH attack). With a new mask each time, the size says nothing about the token.

use crate::error::Error;
use crate::id::PublicId;
use crate::token::{Keys, Signer};
use crate::{base64url, random};
use hmac::Mac;

const HALF: usize = 24;

impl Signer {
    /// Makes a form token of this session.
    pub(crate) fn csrf_token(&self, id: &PublicId) -> Result<String, Error> {
        let mac = self.current.csrf.clone().chain_update(id.as_bytes()).finalize().into_bytes();
        let mut token = [0; 2 * HALF];
        let (mask, masked) = token.split_at_mut(HALF);
        mask.copy_from_slice(&random::bytes::<HALF>()?);
        masked.copy_from_slice(&mac[..HALF]);
        xor(masked, mask);
        Ok(base64url::encode(token))
    }

    /// Returns whether this is a form token of this session. The check takes the same time for every wrong token.
    pub(crate) fn verify_csrf(&self, id: &PublicId, token: &[u8]) -> bool {
        let Some(mut token) = base64url::decode::<{ 2 * HALF }>(token) else { return false };
        let (mask, mac) = token.split_at_mut(HALF);
        xor(mac, mask);
        let is_by = |keys: &Keys| keys.csrf.clone().chain_update(id.as_bytes()).verify_truncated_left(mac).is_ok();
        is_by(&self.current) || self.accepted.iter().any(is_by)
    }
}

fn xor(bytes: &mut [u8], mask: &[u8]) {
    bytes.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::token::scope::Scope;

    fn signer(secret: u8, accepted: &[u8]) -> Signer {
        let secret_of = |byte: u8| Secret::new([byte; 32]).unwrap();
        let accepted: Vec<Secret> = accepted.iter().map(|byte| secret_of(*byte)).collect();
        Signer::new(&Scope::EXAMPLE, &secret_of(secret), &accepted)
    }

    /// A changed form token breaks the forms that are open.
    #[test]
    fn form_tokens_are_the_same_in_every_version() {
        let id = "AR7H9A_cQ_iNivqJNnu2ovXw".parse().unwrap();
        let token = b"VVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVX0zpXsAvnAmGI-RtraCuA2PJqHyVhXR0";
        assert!(signer(1, &[]).verify_csrf(&id, token));
        assert!(signer(2, &[1]).verify_csrf(&id, token));
        assert!(!signer(2, &[]).verify_csrf(&id, token));
    }
}
