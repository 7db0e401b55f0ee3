//! The state of a record, as the scripts pack it into one field: see state.lua.

use crate::store::call::Nonce;
use crate::store::key::RecordKey;
use crate::store::record::RecordInfo;
use crate::store::redis::wire::failure::Failure;
use crate::store::state::RecordState;
use crate::store::update::Update;
use redis::{FromRedisValue, Value};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The length of a packed state.
const LENGTH: usize = 58;
/// The flags: see state.lua.
const OWN_IDLE_TIMEOUT: u64 = 1;
const PERSISTENT: u64 = 2;
const NOT_PERSISTENT: u64 = 4;
const ALL_FLAGS: u64 = 255;

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
            has_own_idle_timeout: has_own_idle_timeout(flags),
            persistent: persistence(flags),
            expires_at,
            nonces: Vec::new(),
        };
        let generation = numbers.take(7)?;
        // Only scripts look at the others.
        Some(StoredState { state: RecordState { nonces: numbers.0.to_vec(), ..state }, generation })
    }
}

/// Reads what a script packed with `info`: see record.lua.
pub(crate) fn info(packed: &[u8]) -> Option<RecordInfo> {
    let mut numbers = Numbers(packed);
    let (version, flags, last_nonce) = (numbers.take(5)?, numbers.take(1)?, numbers.nonce()?);
    let (created_at, joined_at) = (numbers.time()?, numbers.optional_time()?);
    let (refreshed_at, ends_at, idle_timeout) = (numbers.time()?, numbers.optional_time()?, numbers.duration()?);
    let (expires_at, now) = (numbers.time()?, numbers.time()?);
    let expires_in = expires_at.duration_since(now).unwrap_or_default();
    Some(RecordInfo {
        version,
        last_nonce,
        created_at,
        joined_at,
        refreshed_at,
        ends_at,
        idle_timeout,
        expires_at,
        expires_in,
        has_own_idle_timeout: has_own_idle_timeout(flags),
        persistent: persistence(flags),
    })
}

/// Returns the flags of a session.
pub(crate) fn flags(has_own_idle_timeout: bool, persistent: Option<bool>) -> u64 {
    let own_idle_timeout = if has_own_idle_timeout { OWN_IDLE_TIMEOUT } else { 0 };
    own_idle_timeout | persistent.map_or(0, |yes| if yes { PERSISTENT } else { NOT_PERSISTENT })
}

/// Returns the flags that stay in an update of the session under `key`, and those that it sets.
pub(crate) fn changed_flags(update: &Update<'_>, key: &RecordKey<'_>) -> (u64, u64) {
    let (idle_timeout, persistence) = (update.new_idle_timeout(key), update.new_persistence(key));
    let mut kept = ALL_FLAGS;
    if idle_timeout.is_some() {
        kept &= !OWN_IDLE_TIMEOUT;
    }
    if persistence.is_some() {
        kept &= !(PERSISTENT | NOT_PERSISTENT);
    }
    (kept, flags(idle_timeout.is_some_and(|(_, is_own)| is_own), persistence.flatten()))
}

fn has_own_idle_timeout(flags: u64) -> bool {
    flags & OWN_IDLE_TIMEOUT != 0
}

fn persistence(flags: u64) -> Option<bool> {
    match flags & (PERSISTENT | NOT_PERSISTENT) {
        PERSISTENT => Some(true),
        NOT_PERSISTENT => Some(false),
        _ => None,
    }
}

/// Packs the last change of a record: its version and its nonce. After a failover that lost a change, another change
/// may have the same version.
pub(crate) fn last_change(info: &RecordInfo) -> Vec<u8> {
    [&*pack(&[(5, info.version)]), &info.last_nonce].concat()
}

/// Reads the reply to `TIME`, and gives the milliseconds since 1970.
pub(crate) fn clock(reply: Option<Value>) -> Result<u64, Failure> {
    let time = reply.and_then(|reply| <(u64, u64)>::from_redis_value(reply).ok());
    let time = time.ok_or_else(|| Failure::not_ours("the reply to TIME is missing or of another form"));
    time.map(|(seconds, microseconds)| seconds.saturating_mul(1000).saturating_add(microseconds / 1000))
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

    fn nonce(&mut self) -> Option<Nonce> {
        let (nonce, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*nonce)
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
