//! What a real browser makes of our cookies and pages. Chromium is driven over sockets, through chromedriver.

mod axe;
mod driver;
mod login;
mod servers;
mod shared_browser;
mod views;

mod accessibility;
mod after_login;
mod cookies;
mod cross_site;
mod frames;
mod history;
mod profiles;
mod tabs;

use crate::example::Example;

/// Starts the example `prefork` on a store of its own.
fn start_prefork() -> Example {
    start(env!("CARGO_BIN_EXE_prefork"), &[])
}

/// Starts the example `login` on a store of its own.
fn start_login() -> Example {
    start(env!("CARGO_BIN_EXE_login"), &[])
}

fn start_login_on(store: &str) -> Example {
    start(env!("CARGO_BIN_EXE_login"), &["--store", store])
}

/// Starts the example `login` on a store of its own, with this idle timeout in seconds.
fn start_login_with_idle_timeout(seconds: &str) -> Example {
    start(env!("CARGO_BIN_EXE_login"), &["--idle-timeout", seconds])
}

/// Starts the example `live` on a store of its own.
fn start_live() -> Example {
    start(env!("CARGO_BIN_EXE_live"), &[])
}

fn start(program: &str, options: &[&str]) -> Example {
    let options = [&["--listen", "127.0.0.1:0"], options].concat();
    let mut example = Example::run(program, options, Some("a secret of the tests, of 32 bytes and more"));
    example.wait_for_url();
    example
}
