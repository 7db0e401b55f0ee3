//! The defaults of all settings that are not simply on or off.

use crate::lifetime::Refresh;
use crate::store::record::Size;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) const NAMESPACE: &str = "mps";
pub(crate) const COOKIE_NAME: &str = "sid";
pub(crate) const PATH: &str = "/";
pub(crate) const IDLE_TIMEOUT: Duration = DAY.saturating_mul(7);
pub(crate) const UNCONFIRMED_TIMEOUT: Duration = MINUTE.saturating_mul(30);
pub(crate) const REFRESH: Refresh = Refresh::After(MINUTE);
pub(crate) const OPERATION_TIMEOUT: Duration = Duration::from_secs(2);
pub(crate) const POOL_SIZE: u32 = 8;
pub(crate) const SIZE_LIMIT: Size = Size { keys: 1000, bytes: 1 << 20 };
