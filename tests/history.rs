//! The checker of histories: it complains of each kind of violation, and of nothing else.
#![allow(missing_docs, unreachable_pub, dead_code)]

mod torture {
    pub mod check;
    pub mod history;
}
