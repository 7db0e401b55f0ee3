//! The defaults that a store needs if it is made without the builder. [`SessionManagerBuilder`] has all the others.
//!
//! [`SessionManagerBuilder`]: crate::SessionManagerBuilder

use std::time::Duration;

pub(crate) const OPERATION_TIMEOUT: Duration = Duration::from_secs(2);
pub(crate) const POOL_SIZE: u32 = 8;
