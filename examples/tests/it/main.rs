//! The tests of the examples, one program: they start the examples as their users do, on real stores and real sockets.

#![allow(unreachable_pub)] // nobody uses this crate from outside

#[allow(dead_code)] // the tests of the library use the rest
#[path = "../../../tests/support/mod.rs"]
mod support;

mod browser;
mod cgi;
mod client;
mod example;
mod first;
#[cfg(feature = "http_crate")]
mod http_crate;
mod live;
mod login;
mod prefork;
#[cfg(feature = "rouille")]
mod rouille;
mod small;
mod tcp_listener;
mod tiny_http;
