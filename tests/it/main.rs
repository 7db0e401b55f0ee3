//! The integration tests, one program: every promise of the library, on real stores, real processes and real sockets.
//!
//! `cargo test --all-features --test it` runs all of them, and with `-- groups::limit` those of one subject. They run
//! side by side. A test that needs a process of its own starts this program again: see `support::fork::in_own_process`.

#![allow(unreachable_pub)] // nobody uses this crate from outside

#[path = "../support/mod.rs"]
mod support;

/// What an application does with a session.
mod session {
    mod bearer;
    mod changes;
    mod csrf;
    mod ends;
    mod flash;
    mod grace;
    mod handles;
    mod model;
    mod new_ids;
    mod peek;
    mod remembering;
    mod timeouts;
    mod transactions;
    mod typed;
    mod values;
}

/// What browsers and attackers send, and what they get.
mod cookies {
    mod browsers;
    mod forged;
    mod header;
    mod secrets;
    mod set_cookie;
}

/// All sessions of a user.
mod groups {
    mod ending;
    mod limit;
    mod listing;
    mod membership;
    mod values;
}

/// Values that only the client's token opens.
mod sealing {
    mod processes;
    mod stored;
    mod values;
}

/// The Redis store: single servers, Sentinels, clusters.
mod redis {
    mod cluster {
        mod ending;
        mod new_ids;
        mod nodes;
        mod slots;
    }
    mod damaged_records;
    mod durability;
    mod groups;
    mod records;
    mod rights;
    mod round_trips;
    mod sentinel;
    mod shortcuts;
    mod tls;
}

/// The SQLite store.
mod sqlite {
    mod backups;
    mod companions;
    mod damaged_rows;
    mod file;
    mod forks;
    mod full_disk;
    mod locks;
}

/// What becomes of calls while Redis, or the way to it, is sick.
mod faults {
    mod connections;
    mod full;
    mod lost_replies;
    mod outages;
    mod refusals;
    mod replies;
}

/// Several processes at work on the same sessions.
mod processes {
    mod after_login;
    mod fork;
    mod killed;
    mod races;
    mod writes;
}

/// What every store promises.
mod stores {
    mod contract;
    mod fixtures;
}

/// What an operator sees.
mod monitoring {
    mod log;
    mod openmetrics;
    mod stats;
    mod stats_folder;
}

/// What operators do with a store.
mod operators {
    mod cli_arguments;
    mod cli_copy;
    mod cli_copy_loss;
    mod cli_guide;
    mod cli_sessions;
    mod cli_watch;
    mod copying;
    mod findings;
    mod left_overs;
    mod mps;
    mod scanning;
}

/// What the builder takes and refuses.
mod settings {
    mod builder;
    mod store_urls;
    mod test_util;
}

/// How the code itself has to look.
mod house;

mod torture_checker;
