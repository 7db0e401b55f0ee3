//! The nonces of the last calls that changed a record, as Redis keeps them: the last one in the state, and the earlier
//! ones in the fields `n0` to `n3`, eight in each. See `nonce_field` in change.lua.

use crate::store::call::Nonce;

/// The number of nonces in one field.
const IN_FIELD: u64 = 8;
/// The number of fields.
const FIELDS: u64 = 4;

/// Joins the nonces of a record of this version, the newest one first. `last` is the nonce of the last change.
pub(crate) fn joined(version: u64, last: &[u8], fields: &[Vec<u8>; 4]) -> Vec<u8> {
    let newest = version.saturating_sub(1) / IN_FIELD;
    let newest_first = (0..FIELDS).map(|back| &fields[((newest + FIELDS - back) % FIELDS) as usize]);
    let mut nonces = last.to_vec();
    for field in newest_first {
        for nonce in field.chunks_exact(size_of::<Nonce>()).rev() {
            nonces.extend_from_slice(nonce);
        }
    }
    nonces
}

/// Returns the fields for the nonces of a record of this version. The newest nonce is not among them, because the state
/// has it. At least 24 earlier ones are, if they are given.
pub(crate) fn fields(version: u64, nonces: &[u8]) -> [Vec<u8>; 4] {
    let mut fields = <[Vec<u8>; 4]>::default();
    let newest = version.saturating_sub(1) / IN_FIELD;
    for (back, nonce) in nonces.chunks_exact(size_of::<Nonce>()).enumerate().skip(1) {
        // The change that made this version wrote the nonce that is `back` changes older than the newest one.
        let Some(of_version) = version.checked_sub(back as u64) else { break };
        let field = of_version / IN_FIELD;
        if newest.saturating_sub(field) >= FIELDS {
            break; // The next nonces that come would take the place of this one.
        }
        fields[(field % FIELDS) as usize].splice(..0, nonce.iter().copied());
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_hold_at_least_24_earlier_nonces_in_their_order() {
        let nonce = |version: u64| format!("{version:08}");
        for version in 1..100 {
            let all: String = (1..=version).rev().take(32).map(nonce).collect();
            let fields = fields(version, all.as_bytes());
            assert!(fields.iter().all(|field| field.len() <= 64));
            let again = joined(version, nonce(version).as_bytes(), &fields);
            assert!(all.as_bytes().starts_with(&again), "{version}");
            assert!(again.len() >= 8 * 25.min(version as usize), "{version}: {}", again.len());
        }
    }

    #[test]
    fn damaged_nonces_do_not_panic() {
        for (version, nonces) in [(0, &b"1"[..]), (0, &[0; 100]), (u64::MAX, &[0; 1000]), (3, &[])] {
            fields(version, nonces);
            joined(version, nonces, &[vec![0; 3], vec![0; 65], Vec::new(), vec![0; 8]]);
        }
    }
}
