//! Random bytes, straight from the operating system.

use crate::Error;
use rand::TryRng;
use rand::rngs::SysRng;

/// Fresh random bytes. A generator inside the process would be copied by a fork, and every child would draw the same.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).map_err(|error| Error::Randomness(Box::new(error)))?;
    Ok(bytes)
}
