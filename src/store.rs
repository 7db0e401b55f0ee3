//! The [`Store`] trait, its contract, and the vocabulary of stores, for authors of stores.
//!
//! Applications do not need this module. **It may change in every minor version before 1.0**, the trait included.
//!
//! | part | items |
//! |---|---|
//! | what a store does | [`Store`] |
//! | the shortest way to a store | [`Entries`], [`Entry`], [`MaintainedEntries`] |
//! | where a record is | [`RecordKey`], [`GroupKey`], [`GroupTag`], [`PublicId`](crate::PublicId) |
//! | records | [`NewRecord`], [`Created`], [`Loaded`], [`Record`], [`RecordInfo`] |
//! | what a record holds | [`Values`], [`StoredValue`], [`Size`] |
//! | how a record changes | [`Update`], [`ChangeSet`], [`Change`], [`Join`], [`GroupLimit`], [`Updated`], [`Refusal`] |
//! | groups | [`GroupUpdate`], [`GroupValues`], [`Cleared`] |
//! | how long a session lives | [`Lifetime`], [`LONGEST_GRACE`], [`TRAIL`] |
//! | one call | [`Call`], [`Deadline`], [`Nonce`] |
//! | what operators do | [`Maintenance`], [`Scan`], [`Page`], [`StoredRecord`], [`Finding`], [`Figure`], [`open`] |
//! | the rules, for any other store that works in Rust | [`RecordState`] |
//! | the tests that a store has to pass | `contract`, with the feature of that name |
//!
//! `examples/custom_store.rs` is a whole store: it brings four methods, and [`Entries`] makes the rest of them.
//!
//! # New fields
//! The types that the library hands to a store are `#[non_exhaustive]`, so a new field does not break a store:
//! [`Call`], [`RecordKey`], [`GroupKey`], [`NewRecord`], [`Join`], [`GroupLimit`], [`Update`], [`ChangeSet`],
//! [`GroupUpdate`] and [`Lifetime`]. So is [`Refusal`], because a store makes refusals and need not read them.
//!
//! The types that a store makes or keeps are exhaustive: [`Created`], [`Loaded`], [`Record`], [`RecordInfo`],
//! [`Updated`], [`Cleared`], [`GroupValues`], [`RecordState`] and [`Size`]. If one of them gets a new field, a store
//! that does not fill that field must not compile. The same holds for [`Change`]: a store that does not know a kind of
//! change would lose it.

pub(crate) mod call;
#[cfg(feature = "contract")]
pub mod contract;
pub(crate) mod counted;
pub(crate) mod entries;
pub(crate) mod entry;
pub(crate) mod fork_guard;
pub(crate) mod forward;
pub(crate) mod group_update;
pub(crate) mod group_values;
pub(crate) mod key;
pub(crate) mod maintained_entries;
pub(crate) mod maintenance;
pub(crate) mod memory;
pub(crate) mod open;
#[cfg(any(feature = "redis", feature = "sqlite"))]
mod process;
pub(crate) mod record;
#[cfg(feature = "redis")]
pub(crate) mod redis;
pub(crate) mod refusal;
pub(crate) mod restore;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
pub(crate) mod state;
pub(crate) mod stats;
pub(crate) mod store_trait;
pub(crate) mod stored_record;
pub(crate) mod stored_value;
pub(crate) mod trace;
pub(crate) mod update;

pub use crate::deadline::Deadline;
pub use crate::group_limit::GroupLimit;
pub use crate::id::{GroupTag, ParseGroupTagError};
pub use crate::lifetime::Lifetime;
pub use crate::store::call::{Call, Nonce};
pub use crate::store::entries::Entries;
pub use crate::store::entry::Entry;
pub use crate::store::forward::{LONGEST_GRACE, TRAIL};
pub use crate::store::group_update::GroupUpdate;
pub use crate::store::group_values::GroupValues;
pub use crate::store::key::{GroupKey, RecordKey};
pub use crate::store::maintained_entries::MaintainedEntries;
pub use crate::store::maintenance::{Figure, Finding, Located, Maintenance, Page, Position, Purged, Scan, Verdict};
pub use crate::store::open::open;
pub use crate::store::record::{Cleared, Created, Join, Loaded, NewRecord, Record, RecordInfo, Size, Values};
pub use crate::store::refusal::Refusal;
pub use crate::store::restore::Restored;
pub use crate::store::state::RecordState;
pub use crate::store::store_trait::Store;
pub use crate::store::stored_record::StoredRecord;
pub use crate::store::stored_value::StoredValue;
pub use crate::store::update::{Change, ChangeSet, Update, Updated};
