//! Tests of the contract of [`Store`], for authors of stores (feature `contract`).
//!
//! Each function of this module checks one promise of the contract, or one part of it, and panics if the store breaks
//! the promise. [`contract_tests!`](crate::contract_tests) makes a `#[test]` of each function, so the name of a test
//! that fails says which promise is broken. If several processes share the store,
//! [`shared_contract_tests!`](crate::shared_contract_tests) makes tests with several processes. For what operators do
//! with a store, there is [`maintenance_contract_tests!`](crate::maintenance_contract_tests).
//! `examples/custom_store.rs` has a store and its tests.
//!
//! # Examples
//! ```
//! use multi_process_session::MemoryStore;
//! use multi_process_session::store::contract::Subject;
//! use multi_process_session::store::{RecordKey, Store};
//! use std::sync::{Arc, Mutex};
//! use std::time::{Duration, SystemTime};
//!
//! struct Memory {
//!     store: MemoryStore,
//!     now: Arc<Mutex<SystemTime>>,
//! }
//!
//! impl Memory {
//!     fn new() -> Memory {
//!         let now = Arc::new(Mutex::new(SystemTime::now()));
//!         let clock = now.clone();
//!         Memory { store: MemoryStore::with_clock(move || *clock.lock().unwrap()), now }
//!     }
//! }
//!
//! impl Subject for Memory {
//!     fn store(&self) -> &dyn Store {
//!         &self.store
//!     }
//!
//!     fn let_time_pass(&self, _: &RecordKey<'_>, time: Duration) {
//!         *self.now.lock().unwrap() += time;
//!     }
//! }
//!
//! // Makes the tests memory::create_never_overwrites, memory::a_session_ends_when_it_expires, and so on.
//! multi_process_session::contract_tests!(memory, Memory::new());
//! ```

// The build fails if a check is missing in the lists below.
#![deny(dead_code)]

mod calls;
mod ends;
mod group_values;
mod groups;
mod life;
mod limits;
mod maintenance;
mod moves;
mod namespaces;
mod records;
mod setup;
mod shared;
mod values;

use crate::store::key::RecordKey;
use crate::store::maintenance::Maintenance;
use crate::store::store_trait::Store;
use std::time::Duration;

/// A store that the checks of this module use.
pub trait Subject {
    /// Returns the store.
    fn store(&self) -> &dyn Store;

    /// Lets time pass for the record with this key, or for all records.
    ///
    /// If the store takes the time from a clock of the test, move the clock. Otherwise change the record: all times
    /// that are kept with it become earlier by `time`.
    fn let_time_pass(&self, key: &RecordKey<'_>, time: Duration);
}

/// A store that operators can look into, and that the checks of this module use.
pub trait MaintainedSubject: Subject {
    /// Returns the store of the subject.
    fn maintenance(&self) -> &dyn Maintenance;
}

/// A store that several processes share, and that the checks of this module use.
pub trait SharedSubject {
    /// Opens the store. Each process calls this for itself.
    fn open(&self) -> Box<dyn Store>;

    /// Calls `work` with each number below `count`, each in a process of its own, all at the same time. Panics if one
    /// of the processes fails.
    ///
    /// The calling process has no store open meanwhile, so it can fork.
    fn in_processes(&self, count: usize, work: &dyn Fn(usize));
}

/// Makes these checks public, and makes the macro with this name, which makes a test of each check.
///
/// This is the only list of the checks. The first argument is a `$`, which the macro that is made needs.
macro_rules! checks {
    ($d:tt $(#[$attribute:meta])* $tests:ident! { $($module:ident { $($check:ident)+ })+ }) => {
        $(pub use self::$module::{$($check),+};)+

        $(#[$attribute])*
        #[macro_export]
        macro_rules! $tests {
            ($d module:ident, $d subject:expr $d(,)?) => {
                $crate::$tests!($d module, $d subject, $crate::store::contract::run_here);
            };
            ($d module:ident, $d subject:expr, $d run:expr $d(,)?) => {
                mod $d module {
                    #[allow(unused_imports)]
                    use super::*;
                    $($(
                        #[test]
                        fn $check() {
                            let path = concat!(module_path!(), "::", stringify!($check));
                            $d run($crate::store::contract::name_of_test(path), || {
                                $crate::store::contract::$check(&$d subject);
                            });
                        }
                    )+)+
                }
            };
        }
    };
}

checks! { $
    /// Makes a module of this name, with a `#[test]` for each promise that a store keeps in one process.
    ///
    /// The second argument is an expression that gives a [`Subject`](crate::store::contract::Subject). Each test
    /// evaluates it. The checks use fresh keys in namespaces that begin with `contract`, so all tests can share a
    /// server.
    ///
    /// A third argument is optional: what runs a test. It is called with the name of the test, as the test program has
    /// it, and with a closure that evaluates the second argument and runs the check.
    ///
    /// See the module [`contract`](crate::store::contract).
    contract_tests! {
        records {
            create_never_overwrites
            create_refuses_values_that_are_too_large
            a_record_may_be_empty
            a_load_of_an_unknown_or_ended_session_finds_nothing
            any_text_is_kept_as_it_is
            an_update_of_an_ended_session_is_gone
            an_update_of_an_ended_session_leaves_its_new_key_alone
            a_delete_ends_the_session_and_may_be_repeated
        }
        values {
            an_update_changes_the_keys_that_it_names
            clear_removes_all_values_first
            an_update_is_applied_wholly_or_not_at_all
            increments_are_exact
            an_update_changes_the_version_and_can_expect_one
            an_update_can_require_a_value
            a_sealed_value_is_kept_as_it_is
            clear_leaves_the_librarys_own_values
        }
        limits {
            the_size_limit_holds_for_the_result
            a_session_beyond_the_size_limit_can_only_shrink
            the_limit_of_keys_holds_for_the_result
        }
        life {
            a_session_ends_when_it_expires
            a_load_refreshes_if_a_refresh_is_due
            every_load_refreshes_if_the_settings_say_so
            an_update_does_not_extend_a_life
            the_absolute_timeout_ends_a_session
            stricter_settings_hold_for_existing_sessions
            an_own_idle_timeout_outlasts_stricter_settings
            a_session_is_short_lived_until_its_first_load
            an_own_idle_timeout_ends_with_its_login
            an_own_idle_timeout_can_be_given_up
            the_persistence_of_the_cookie_is_kept
            a_peek_writes_nothing
            a_peek_follows_an_old_key
            many_sessions_can_be_asked_at_once
        }
        moves {
            a_record_moves_to_its_new_key
            a_move_to_a_taken_key_is_refused
            a_refused_move_changes_nothing
            a_record_moves_to_the_key_of_an_expired_session
            an_old_key_leads_to_the_record_for_its_grace
            an_old_key_cannot_move_the_record_again
            all_old_keys_lead_to_the_record
            a_delete_in_a_grace_ends_the_session
            without_a_grace_no_old_key_leads_to_the_record
            a_grace_ends
            a_session_that_has_moved_ends_with_its_group
            sparing_a_session_ends_its_graces
            clearing_another_group_does_not_end_graces
            an_old_key_ends_the_session_for_an_hour
            the_key_before_a_login_does_not_end_the_session
        }
        groups {
            the_tag_is_part_of_the_key
            a_session_can_join_groups
            a_new_id_in_the_same_group_is_not_a_login
            a_session_can_leave_its_group
            a_group_lists_its_sessions
            a_group_does_not_list_ended_sessions
            a_group_lives_as_long_as_its_longest_session
            a_group_ends_as_one
            all_but_one_session_of_a_group_can_end
            a_group_has_no_more_sessions_than_its_limit
            a_new_limit_ends_all_surplus_sessions
            the_session_that_joins_never_ends
            the_order_of_joining_is_exact
            expired_sessions_do_not_count_for_the_limit
            a_join_beyond_the_limit_can_be_refused
            a_join_says_which_sessions_it_has_ended
        }
        group_values {
            every_session_of_a_group_sees_its_values
            the_values_of_a_group_outlast_its_sessions
            the_values_of_a_group_expire
            the_values_of_a_group_end_with_their_namespace
            a_change_of_group_values_is_applied_once
        }
        ends {
            an_ended_session_says_why
            an_old_id_says_why_the_session_has_ended
            a_reason_is_remembered_for_five_minutes
        }
        namespaces {
            a_namespace_ends_as_one
            the_end_of_a_namespace_touches_no_other_one
            a_namespace_can_be_used_after_its_end
        }
        calls {
            every_call_ends_by_its_deadline
            a_create_that_is_sent_twice_is_applied_once
            an_update_that_is_sent_twice_is_applied_once
            a_refused_call_can_be_sent_again
            a_move_that_is_sent_twice_is_applied_once
            a_record_remembers_calls_when_it_moves
            a_create_that_is_sent_again_brings_nothing_back
        }
    }
}

checks! { $
    /// Makes a module of this name, with a `#[test]` for each promise that a store keeps if several processes share it.
    ///
    /// The second argument is an expression that gives a [`SharedSubject`](crate::store::contract::SharedSubject). Each
    /// test evaluates it.
    ///
    /// A third argument is optional: a function that runs a test. It gets the name that the test has in the test
    /// program, and a closure that evaluates the second argument and runs the check. A process that runs other tests at
    /// the same time should not fork, so a test that forks needs a process of its own: run the test program again, with
    /// `--exact` and the name.
    ///
    /// See the module [`contract`](crate::store::contract).
    shared_contract_tests! {
        shared {
            changes_of_all_processes_are_kept
            a_session_that_one_process_ends_stays_ended
            one_of_several_moves_succeeds
            logins_of_all_processes_keep_the_limit
            every_process_sees_the_values_of_a_group
        }
    }
}

checks! { $
    /// Makes a module of this name, with a `#[test]` for each promise of [`Maintenance`](crate::store::Maintenance).
    ///
    /// The second argument is an expression that gives a
    /// [`MaintainedSubject`](crate::store::contract::MaintainedSubject). Each test evaluates it. The checks use
    /// namespaces that begin with `contract-`, each of which only one check uses, so all tests can share a server.
    ///
    /// A third argument is optional: what runs a test, as for [`contract_tests!`](crate::contract_tests).
    maintenance_contract_tests! {
        maintenance {
            a_scan_gives_all_live_sessions
            a_scan_misses_no_session_that_lives_all_the_time
            a_scan_looks_at_one_namespace
            a_session_is_found_by_its_public_id
            sessions_are_read_at_their_places
            a_restored_session_is_the_same
            a_restored_session_knows_its_creation
            a_restore_replaces_an_earlier_state_only
            a_restore_does_not_bring_back_an_ended_session
            restored_sessions_keep_their_order
            a_place_in_the_order_of_joining_is_a_time
            the_values_of_a_group_are_restored
            a_purge_removes_ended_sessions_only
        }
    }
}

/// Runs a check in the test itself.
#[doc(hidden)]
pub fn run_here(_test: &str, check: impl FnOnce()) {
    check();
}

/// The name that the test program has for the test of this path: the path without the name of the crate.
#[doc(hidden)]
#[must_use]
pub fn name_of_test(path: &str) -> &str {
    path.split_once("::").map_or(path, |(_, name)| name)
}
