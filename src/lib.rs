#![doc = "placeholder"]
#![forbid(unsafe_code)]

mod builder;
mod cookie;
mod error;
mod lifetime;
mod manager;
mod random;
mod session;
mod store;
mod token;

/// How long a key may be, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;

pub use builder::SessionManagerBuilder;
pub use cookie::{SameSite, SetCookie};
pub use error::{ConfigError, Error, Oversize, StoreError, StoreErrorKind};
pub use lifetime::Refresh;
pub use manager::SessionManager;
pub use session::Session;
pub use token::{GroupTag, ParsePublicIdError, PublicId, Secret};

#[cfg(feature = "redis")]
pub use store::RedisStore;
pub use store::{
    Call, Change, ChangeSet, ForkGuard, MemoryStore, NewRecord, Nonce, Record, RecordInfo, RecordKey, Store, Update,
    Updated, Values, size,
};
