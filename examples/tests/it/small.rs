//! What the tests of the small examples share: each is a program that keeps its sessions in a file in its own folder.

use crate::client::{Answer, Client};
use crate::example::Example;
use crate::support::sqlite::Sqlite;
use crate::support::until;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// A secret of the tests.
pub const SECRET: &str = "a secret of the tests, of 32 bytes and more";

/// A running example.
pub struct Small {
    example: Example,
    pub sqlite: Sqlite,
}

impl Small {
    /// Starts an example with these arguments, in a folder of its own.
    pub fn start(program: &str, arguments: &[&str]) -> Small {
        let sqlite = Sqlite::new();
        let mut command = Command::new(program);
        command.args(arguments).env("SESSION_SECRET", SECRET).current_dir(sqlite.folder());
        let mut example = Example::spawn(command);
        example.wait_for_url();
        Small { example, sqlite }
    }

    pub fn client(&self) -> Client {
        Client::of_plain_pages(&self.example.url)
    }

    pub fn address(&self) -> &str {
        self.example.address()
    }

    /// Runs `work` while nothing can be saved. Checks that the example logs the error and keeps running.
    pub fn while_the_store_is_sick(&mut self, work: impl FnOnce() -> Answer) {
        let answer = while_locked(&self.sqlite, work);
        assert_eq!((answer.status, answer.set_cookie()), (503, None), "{answer:?}");
        assert!(answer.body.contains("lease try again soon"), "{answer:?}");
        let log = self.example.stderr();
        assert!(log.contains("the session store failed: ") && !log.contains("panicked"), "{log}");
    }
}

/// Sees that an example answers a visitor who has no session, while the store lets another one wait.
pub fn answers_while_another_waits(server: &Small, slow: impl Fn() -> Answer + Sync, quick: impl Fn()) {
    // On a busy machine, the other one may give up before the visitor is answered. Then this is tried again.
    until(|| {
        thread::scope(|scope| {
            let slow = while_locked(&server.sqlite, || {
                let slow = scope.spawn(&slow);
                thread::sleep(Duration::from_millis(100)); // It is waiting by now.
                quick();
                slow
            });
            slow.join().expect("an answer").status == 200
        })
    });
}

/// Does something while another process keeps everybody else from writing into the file.
pub fn while_locked<T>(sqlite: &Sqlite, work: impl FnOnce() -> T) -> T {
    let other = sqlite.connect();
    other.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
    work()
}

/// Sees that an example does not start without a secret, and names the variable for it.
pub fn needs_a_secret(program: &str) {
    let mut example = Example::run(program, [""; 0], None);
    assert_eq!(example.wait(), Some(1));
    assert!(example.stderr().contains("SESSION_SECRET is not set"), "{}", example.stderr());
    assert!(example.stderr().contains("openssl rand -base64 48"), "{}", example.stderr());
}
