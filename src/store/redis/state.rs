//! The state of a record, as the scripts pack it into one field: see state.lua.

use crate::store::record::RecordInfo;
use crate::store::state::RecordState;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The length of a packed state.
const LENGTH: usize = 58;
/// The flag of a session whose idle timeout was chosen for it.
const OWN_IDLE_TIMEOUT: u64 = 1;

/// A state as it is stored, with the generation to which the record belongs.
pub(crate) struct StoredState {
    pub(crate) state: RecordState,
    pub(crate) generation: u64,
}

impl StoredState {
    /// Reads the library's own fields of a record: the packed state, when the session joined its group, and when its
    /// absolute timeout began, if that is neither the time of joining nor that of the creation.
    pub(crate) fn read(packed: &[u8], joined_at: Option<SystemTime>, began_at: Option<SystemTime>) -> Option<Self> {
        if packed.len() != LENGTH {
            return None;
        }
        let mut numbers = Numbers(packed);
        let (version, flags) = (numbers.take(5)?, numbers.take(1)?);
        let _size = (numbers.take(3)?, numbers.take(4)?);
        let (created_at, refreshed_at, expires_at) = (numbers.time()?, numbers.optional_time()?, numbers.time()?);
        let (ends_at, idle_timeout) = (numbers.optional_time()?, numbers.duration()?);
        let state = RecordState {
            version,
            created_at,
            joined_at,
            began_at: began_at.or(joined_at).unwrap_or(created_at),
            refreshed_at,
            ends_at,
            idle_timeout,
            has_own_idle_timeout: flags == OWN_IDLE_TIMEOUT,
            expires_at,
            nonces: Vec::new(), // Only scripts look at them.
        };
        Some(StoredState { state, generation: numbers.take(7)? })
    }
}

/// Reads what a script packed with `info`: see record.lua.
pub(crate) fn info(packed: &[u8]) -> Option<RecordInfo> {
    let mut numbers = Numbers(packed);
    let (version, created_at, joined_at) = (numbers.take(5)?, numbers.time()?, numbers.optional_time()?);
    let (refreshed_at, ends_at, idle_timeout) = (numbers.time()?, numbers.optional_time()?, numbers.duration()?);
    let (expires_at, now) = (numbers.time()?, numbers.time()?);
    let expires_in = expires_at.duration_since(now).unwrap_or_default();
    Some(RecordInfo { version, created_at, joined_at, refreshed_at, ends_at, idle_timeout, expires_at, expires_in })
}

/// Reads a time that stands alone, packed into the first 6 bytes.
pub(crate) fn time(packed: &[u8]) -> Option<SystemTime> {
    Numbers(packed).time()
}

/// Packs pairs of a length in bytes and a number, the highest byte first. A number that is too large becomes the
/// largest.
pub(crate) fn pack(numbers: &[(usize, u64)]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(64);
    for (bytes, number) in numbers {
        let number = (*number).min((1 << (8 * bytes)) - 1);
        packed.extend_from_slice(&number.to_be_bytes()[8 - bytes..]);
    }
    packed
}

/// Reads a packed generation.
pub(crate) fn generation(packed: &[u8]) -> Option<u64> {
    Numbers(packed).take(7).filter(|_| packed.len() == 7)
}

/// Packed numbers, the highest byte first. Times and durations are in milliseconds.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    /// Reads a number of `bytes` bytes.
    fn take(&mut self, bytes: usize) -> Option<u64> {
        let (number, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn duration(&mut self) -> Option<Duration> {
        self.take(6).map(Duration::from_millis)
    }

    fn time(&mut self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(self.duration()?)
    }

    /// Reads a time for which 0 stands for never.
    fn optional_time(&mut self) -> Option<Option<SystemTime>> {
        self.time().map(|time| Some(time).filter(|time| *time > UNIX_EPOCH))
    }
}
