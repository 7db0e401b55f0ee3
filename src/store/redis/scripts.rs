//! The scripts: each is one operation, in one round trip.

use crate::store::redis::deployment::proof::Proof;
use crate::store::redis::script::Script;

/// The text of a file in `scripts/`.
macro_rules! lua {
    ($name:expr) => {
        include_str!(concat!("scripts/", $name, ".lua"))
    };
}

const PRELUDE: &str = lua!("prelude");
// Functions that several scripts share. Redis creates all functions of a script again at each run, so a script contains
// only the files that it needs.
const QUICK_UPDATE: &str = lua!("shared/quick_update");
const DAMAGE: &str = lua!("shared/damage");
const STATE: &str = lua!("shared/state");
const RECORD: &str = lua!("shared/record");
const CHANGE: &str = lua!("shared/change");
const GROUP: &str = lua!("shared/group");
const TRACE: &str = lua!("shared/trace");
const INTEGER: &str = lua!("shared/integer");
const GROUP_VALUES: &str = lua!("shared/group_values");
const RESTORE: &str = lua!("shared/restore");
const VALUES: &str = lua!("shared/values");

/// Makes `Scripts` from a table. A line has the name of a script, what its "ok" proves about the node, and the texts
/// that come before its own text.
macro_rules! scripts {
    ($($name:ident: $proof_of_ok:ident, [$($text:ident),*];)*) => {
        /// All scripts. They are made with the store, not on first use: first use would need a lock, and a fork could
        /// copy the lock while it is held.
        pub(crate) struct Scripts {
            $(pub(crate) $name: Script,)*
        }

        impl Scripts {
            pub(crate) fn new() -> Scripts {
                Scripts { $($name: Script::new(Proof::$proof_of_ok, &[$($text,)* lua!(stringify!($name))]),)* }
            }

            #[cfg(test)]
            fn by_name(&self) -> Vec<(&str, &Script)> {
                vec![$((stringify!($name), &self.$name),)*]
            }
        }
    };
}

// An "ok" proves that the node accepts writes if the first write of the script adds: a full memory refuses such a
// script.
scripts! {
    record_create: Writes, [PRELUDE, STATE, RECORD, CHANGE, GROUP];
    record_load: Reads, [PRELUDE, DAMAGE, STATE, RECORD];
    record_update: Writes, [QUICK_UPDATE, PRELUDE, STATE, RECORD, CHANGE, INTEGER, VALUES];
    record_move: Writes, [PRELUDE, STATE, RECORD, CHANGE, GROUP, INTEGER, VALUES];
    record_restore: Reads, [PRELUDE, DAMAGE, STATE, RECORD, CHANGE, GROUP, RESTORE];
    record_delete: Reads, [PRELUDE, DAMAGE, STATE, RECORD, GROUP, TRACE];
    group_ids: Reads, [PRELUDE, STATE, RECORD, GROUP];
    group_len: Reads, [PRELUDE, STATE, RECORD, GROUP];
    group_read: Reads, [PRELUDE, DAMAGE, STATE, RECORD, GROUP];
    group_clear: Reads, [PRELUDE, DAMAGE, STATE, RECORD, GROUP, TRACE];
    group_limit: Reads, [PRELUDE, STATE, RECORD, GROUP];
    group_update: Writes, [PRELUDE, DAMAGE, STATE, RECORD, CHANGE, GROUP_VALUES];
    group_restore: Reads, [PRELUDE, DAMAGE, STATE, RECORD, CHANGE, GROUP_VALUES, RESTORE];
    sweep: Reads, [PRELUDE, DAMAGE, STATE, TRACE];
    namespace_clear: Reads, [];
    namespace_sweep: Reads, [PRELUDE, DAMAGE, STATE, RECORD, GROUP, TRACE];
    hash_read: Reads, [PRELUDE, DAMAGE];
    handover_prepare: Reads, [PRELUDE, DAMAGE, STATE, RECORD, CHANGE, GROUP];
    handover_end: Reads, [PRELUDE, STATE, RECORD, CHANGE, GROUP];
    handover_activate: Reads, [PRELUDE, STATE, RECORD, CHANGE, GROUP];
    handover_discard: Reads, [PRELUDE, STATE, RECORD, CHANGE, GROUP];
    probe: Writes, [PRELUDE];
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Returns the names that a text declares with `local` at the beginning of a line.
    fn declared(lua: &str) -> BTreeSet<&str> {
        let declarations = lua.lines().filter_map(|line| line.strip_prefix("local "));
        let names = declarations.flat_map(|line| match line.strip_prefix("function ") {
            Some(function) => vec![function.split('(').next().unwrap_or_default()],
            None => line.split('=').next().unwrap_or_default().split(',').map(str::trim).collect(),
        });
        names.collect()
    }

    /// Returns the words of a text, without its comments.
    fn words(lua: &str) -> BTreeSet<&str> {
        let code = lua.lines().filter_map(|line| line.split("--").next());
        code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_')).collect()
    }

    #[test]
    fn every_script_has_all_functions_that_it_calls() {
        let texts = [PRELUDE, DAMAGE, STATE, RECORD, CHANGE, GROUP, TRACE, INTEGER, GROUP_VALUES, RESTORE, VALUES];
        let mut shared: BTreeSet<&str> = texts.into_iter().flat_map(declared).collect();
        shared.retain(|name| !["KEYS", "ARGV"].contains(name)); // Redis itself declares them.
        for (name, script) in Scripts::new().by_name() {
            let (words, declared) = (words(&script.text), declared(&script.text));
            let missing = words.difference(&declared).find(|word| shared.contains(*word));
            assert_eq!(missing, None, "in {name}.lua");
        }
    }
}
