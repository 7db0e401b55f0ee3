//! The names of keys and fields in Redis.

use crate::store::call::Nonce;
use crate::store::key::{GroupKey, RecordKey};

/// Returns the keys of a record: its own key, and if it is in a group, those of the group's two sets.
pub(crate) fn record_keys(key: &RecordKey<'_>) -> Vec<String> {
    let Some(tag) = key.tag else { return vec![own_key(key)] };
    let [members, joined] = group_keys(&key.group(tag));
    vec![own_key(key), members, joined]
}

/// Returns the key of a record itself: `<namespace>:<public id>`, or in a group `<namespace>:{<tag>}:<public id>`. The
/// braces keep a group and its sessions in one slot of a cluster.
pub(crate) fn own_key(key: &RecordKey<'_>) -> String {
    match key.tag {
        None => format!("{}:{}", key.namespace, key.id),
        Some(tag) => format!("{}:{{{tag}}}:{}", key.namespace, key.id),
    }
}

/// The keys of a group's two sorted sets: by expiry, and by the order of joining.
pub(crate) fn group_keys(group: &GroupKey<'_>) -> [String; 2] {
    let members = format!("{}:{{{}}}", group.namespace, group.tag);
    let joined = format!("{members}:joined");
    [members, joined]
}

/// The key of the values of a group.
pub(crate) fn values_key(group: &GroupKey<'_>) -> String {
    let [members, _] = group_keys(group);
    format!("{members}:values")
}

/// The key of the places in a group that logins have reserved: see handover_prepare.lua.
pub(crate) fn reserved_key(group: &GroupKey<'_>) -> String {
    let [members, _] = group_keys(group);
    format!("{members}:reserved")
}

/// The key of a call's ended set: the sessions of a group that the call has ended, until their records are removed.
pub(crate) fn ended_key(group: &GroupKey<'_>, nonce: Nonce) -> String {
    let [members, _] = group_keys(group);
    format!("{members}:ended:{}", String::from_utf8_lossy(&nonce))
}

/// The hash field of a value with this key.
pub(crate) fn field(key: &str) -> String {
    format!(":{key}")
}
