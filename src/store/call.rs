//! One call to a store.

use crate::deadline::Deadline;
use crate::error::Error;
use crate::random;

/// Eight random characters that tell one call from every other call.
pub type Nonce = [u8; 8];

/// One call: its deadline and its nonce.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Call {
    /// When the call has to end.
    pub deadline: Deadline,
    /// The mark of this call: no other call has it, and a call that is sent again keeps it.
    pub nonce: Nonce,
}

impl Call {
    /// Makes a new call that has to end by `deadline`.
    ///
    /// # Errors
    /// [`Error::Randomness`].
    pub fn until(deadline: Deadline) -> Result<Call, Error> {
        Ok(Call { deadline, nonce: random::nonce()? })
    }
}
