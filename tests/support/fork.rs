//! Real processes: a test in a process of its own, and children forked from it.

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use std::any::Any;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::{Duration, Instant};

const INNER: &str = "MPS_TEST_IN_ITS_OWN_PROCESS";
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a test that forks in a process where no other test runs: a fork copies only the thread that calls it, and
/// whatever the threads of other tests hold locked stays locked in the child.
pub fn in_own_process(test: &str, body: impl FnOnce()) {
    if std::env::var(INNER).is_ok_and(|name| name == test) {
        return body();
    }
    let me = std::env::current_exe().expect("a test has a path");
    let output = Command::new(me)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INNER, test)
        .output()
        .expect("a test can be run");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{test} failed in its own process:\n{text}");
    assert!(text.contains("1 passed"), "there is no test {test}:\n{text}");
}

/// A forked child and what it has to say.
pub struct Child {
    pid: Pid,
    /// A file, since a pipe holds only so much while nobody reads.
    said: File,
}

/// Forks a child that runs `body`, says what it returns, and exits without running anything of the parent's.
pub fn child(body: impl FnOnce() -> String) -> Child {
    let mut said = tempfile::tempfile().expect("a temporary file");
    // SAFETY: the test runs alone in its process, and the child leaves by _exit.
    match unsafe { fork() }.expect("a fork") {
        ForkResult::Parent { child } => Child { pid: child, said },
        ForkResult::Child => {
            let (text, code) = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(text) => (text, 0),
                Err(panic) => (message(&*panic), 1),
            };
            let _ = said.write_all(text.as_bytes());
            // SAFETY: ends this process without running the parent's exit handlers.
            unsafe { nix::libc::_exit(code) }
        }
    }
}

impl Child {
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// What the child said. Fails if it panicked, was killed, or hangs.
    pub fn join(self) -> String {
        let pid = self.pid;
        self.wait().unwrap_or_else(|| panic!("child {pid} was killed"))
    }

    /// What the child said; `None` if it was killed. Fails if it panicked, or hangs.
    pub fn wait(mut self) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)).expect("it is our child") {
                WaitStatus::StillAlive if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
                WaitStatus::StillAlive => {
                    let _ = kill(self.pid, Signal::SIGKILL);
                    panic!("child {} hangs", self.pid);
                }
                status => break status,
            }
        };
        if matches!(status, WaitStatus::Signaled(_, Signal::SIGKILL, _)) {
            return None;
        }
        let mut text = String::new();
        self.said.rewind().expect("a file");
        self.said.read_to_string(&mut text).expect("text");
        assert_eq!(status, WaitStatus::Exited(self.pid, 0), "a child said: {text}");
        Some(text)
    }

    /// Kills it, wherever it is.
    pub fn kill(self) {
        kill(self.pid, Signal::SIGKILL).expect("it is our child");
        waitpid(self.pid, None).expect("it ends");
    }
}

/// Forks `count` children that run at once, and gives what they said.
pub fn children(count: usize, body: impl Fn(usize) -> String) -> Vec<String> {
    let children: Vec<Child> = (0..count).map(|number| child(|| body(number))).collect();
    children.into_iter().map(Child::join).collect()
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

/// The inodes of the sockets that this process has open.
pub fn open_sockets() -> Vec<String> {
    let folder = std::fs::read_dir("/proc/self/fd").expect("Linux");
    let targets = folder.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets.map(|path| path.display().to_string()).filter(|name| name.starts_with("socket:")).collect()
}

/// Lines from one process to another.
pub struct Lines {
    read: BufReader<UnixStream>,
    write: UnixStream,
}

impl Lines {
    pub fn new() -> Lines {
        let (read, write) = UnixStream::pair().expect("a pair of sockets");
        read.set_read_timeout(Some(PATIENCE)).expect("a time to wait");
        Lines { read: BufReader::new(read), write }
    }

    pub fn send(&self, line: &str) {
        (&self.write).write_all(format!("{line}\n").as_bytes()).expect("somebody reads");
    }

    pub fn next(&mut self) -> String {
        let mut line = String::new();
        self.read.read_line(&mut line).expect("somebody sends");
        assert_eq!(line.pop(), Some('\n'), "the sender has ended");
        line
    }
}

/// A signal between processes: a byte through a pair of sockets.
pub struct Signals {
    read: UnixStream,
    write: UnixStream,
}

impl Signals {
    pub fn new() -> Signals {
        let (read, write) = UnixStream::pair().expect("a pair of sockets");
        read.set_read_timeout(Some(PATIENCE)).expect("a time to wait");
        Signals { read, write }
    }

    pub fn send(&self) {
        (&self.write).write_all(b"!").expect("somebody waits");
    }

    pub fn wait(&self) {
        (&self.read).read_exact(&mut [0]).expect("somebody sends");
    }
}
