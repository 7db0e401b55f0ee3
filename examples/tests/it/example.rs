//! An example as its users run it: a program with its own output, that serves on a free port.

use crate::support::wait::until_some;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use tempfile::TempDir;

/// A running example, in a process group of its own. Its output goes to files.
pub struct Example {
    child: Child,
    folder: TempDir,
    pub url: String,
}

impl Example {
    pub fn run(program: &str, arguments: impl IntoIterator<Item: AsRef<OsStr>>, secret: Option<&str>) -> Example {
        let mut command = Command::new(program);
        command.args(arguments).env_remove("SESSION_SECRET").envs(secret.map(|secret| ("SESSION_SECRET", secret)));
        Example::spawn(command)
    }

    pub fn spawn(mut command: Command) -> Example {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = |name| File::create(folder.path().join(name)).expect("a file");
        command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr")).process_group(0);
        let child = command.spawn().expect("cargo has built the example");
        Example { child, folder, url: String::new() }
    }

    /// Waits until the example says where it listens.
    pub fn wait_for_url(&mut self) {
        let said = until_some(|| {
            assert_eq!(self.child.try_wait().expect("our child"), None, "it ended: {}", self.stderr());
            Some(self.stdout()).filter(|said| said.ends_with('\n'))
        });
        self.url = said.split(' ').next().expect("a split has a first part").to_owned();
    }

    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    pub fn port(&self) -> u16 {
        self.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    pub fn stdout(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stdout")).expect("text")
    }

    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).expect("text")
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it runs");
    }

    /// Waits until the example has ended, and gives its exit code if it has one.
    pub fn wait(&mut self) -> Option<i32> {
        until_some(|| self.child.try_wait().expect("our child")).code()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the example said: {}", self.stderr());
        }
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
