//! Processes: runs a test in its own process, forks children, and passes messages between them.

use super::place::Place;
use multi_process_session::SessionManager;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use std::any::{Any, type_name};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const INNER: &str = "MPS_TEST_IN_ITS_OWN_PROCESS";
/// How long a process waits for another one before it fails.
const PATIENCE: Duration = Duration::from_secs(120);

// ---- a process of its own ----

/// Runs the body of a test in a process where no other test runs.
///
/// A test needs this if it forks: a fork copies only the thread that calls it, and locks that threads of other tests
/// hold stay locked in the child. It also needs this if it changes, counts or watches something that belongs to the
/// whole process: the logger, the environment, limits, open files, threads, memory.
pub fn in_own_process(body: impl FnOnce()) {
    in_own_process_of(test_of(&body), body);
}

/// Like `in_own_process`, for helpers that wrap the body of a test: `test` is its name.
pub fn in_own_process_of(test: &str, body: impl FnOnce()) {
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

/// Returns the name of the test in which this closure is written, as `--exact` takes it.
pub fn test_of<F>(_: &F) -> &'static str {
    let (_program, path) = type_name::<F>().split_once("::").expect("a closure has a path");
    path.split("::{{closure}}").next().expect("a split has a first part")
}

/// Runs the body of a test, in a process of its own, once on each kind of store that processes share.
pub fn on_every_shared_store(body: impl Fn(&Place, &SessionManager)) {
    in_own_process_of(test_of(&body), || {
        for place in Place::all_and_a_cluster() {
            let manager = super::manager(&place.url());
            manager.ping().expect("the store works");
            body(&place, &manager);
        }
    });
}

/// Fails if other tests may run beside this code. `cargo test` names the threads of tests after them.
#[track_caller]
pub fn assert_alone() {
    let is_in_a_test = thread::current().name().is_some_and(|name| name.contains("::"));
    assert!(!is_in_a_test || std::env::var_os(INNER).is_some(), "this needs a process of its own: see in_own_process");
}

/// The inodes of the sockets that this process has open.
#[track_caller]
pub fn open_sockets() -> Vec<String> {
    assert_alone();
    let folder = fs::read_dir("/proc/self/fd").expect("Linux");
    let targets = folder.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.map(|path| path.display().to_string()).filter(|name| name.starts_with("socket:")).collect()
}

/// Whether a thread of this process sleeps for a moment, as one does that waits for a lock of SQLite.
#[track_caller]
pub fn is_a_thread_asleep() -> bool {
    assert_alone();
    let tasks = fs::read_dir("/proc/self/task").expect("Linux");
    let system_calls = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("syscall")).ok());
    // These are the numbers of clock_nanosleep on x86-64 and on ARM.
    system_calls.into_iter().any(|call| call.starts_with("230 ") || call.starts_with("115 "))
}

/// Whether a thread of this process waits for another one.
pub fn is_waiting(thread: Pid) -> bool {
    let system_call = fs::read_to_string(format!("/proc/self/task/{thread}/syscall")).expect("Linux");
    // These are the numbers of futex on x86-64 and on ARM.
    system_call.starts_with("202 ") || system_call.starts_with("98 ")
}

// ---- children ----

/// A forked child and what it has to say.
pub struct Child {
    pid: Pid,
    /// The child's output. It is a file, because a pipe is full after some time if nobody reads it.
    said: File,
}

/// Forks a child that runs `body`, says what it returns, and exits without running anything of the parent's.
#[track_caller]
pub fn child(body: impl FnOnce() -> String) -> Child {
    assert_alone();
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

/// Forks a child of a process that has used the manager.
#[track_caller]
pub fn child_of(manager: &SessionManager, body: impl FnOnce() -> String) -> Child {
    let _guard = manager.before_fork();
    child(body)
}

/// Forks `count` children that run at the same time, and gives what they said.
#[track_caller]
pub fn children(count: usize, body: impl Fn(usize) -> String) -> Vec<String> {
    let children: Vec<Child> = (0..count).map(|number| child(|| body(number))).collect();
    children.into_iter().map(Child::join).collect()
}

/// Like `children`, of a process that has used the manager.
#[track_caller]
pub fn children_of(manager: &SessionManager, count: usize, body: impl Fn(usize) -> String) -> Vec<String> {
    let guard = manager.before_fork();
    let children: Vec<Child> = (0..count).map(|number| child(|| body(number))).collect();
    drop(guard);
    children.into_iter().map(Child::join).collect()
}

/// Forks `count` children and lets them use the manager beside their parent, which has the last number. Fails if one of
/// them uses a socket of another process, or if the children's end closes a socket of the parent's.
#[track_caller]
pub fn each_process_has_sockets_of_its_own(manager: &SessionManager, count: usize, use_it: impl Fn(usize)) {
    let inherited: BTreeSet<String> = open_sockets().into_iter().collect();
    assert!(!inherited.is_empty(), "the parent has used the manager");
    let child = |number| {
        child(|| {
            use_it(number);
            let own: Vec<_> = open_sockets().into_iter().filter(|socket| !inherited.contains(socket)).collect();
            // This closes all connections of the child.
            drop(manager.before_fork());
            own.join("\n")
        })
    };
    let children: Vec<Child> = (0..count).map(child).collect();
    use_it(count);
    let mut sockets = inherited.clone();
    for child in children {
        let said = child.join();
        assert!(!said.is_empty(), "a child opens its own connection");
        for socket in said.lines() {
            assert!(sockets.insert(socket.to_owned()), "{socket} is in two processes");
        }
    }
    use_it(count);
    assert_eq!(open_sockets().into_iter().collect::<BTreeSet<_>>(), inherited, "the parent still has its own");
}

impl Child {
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits for the child's end and gives what it said. Fails if it panicked, was killed, or hangs.
    #[track_caller]
    pub fn join(self) -> String {
        let pid = self.pid;
        self.wait().unwrap_or_else(|| panic!("child {pid} was killed"))
    }

    /// Like `join`, but gives `None` if the child was killed.
    #[track_caller]
    pub fn wait(mut self) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)).expect("it is our child") {
                WaitStatus::StillAlive if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
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

    /// Kills the child, whatever it is doing.
    pub fn kill(self) {
        kill(self.pid, Signal::SIGKILL).expect("it is our child");
        waitpid(self.pid, None).expect("it ends");
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

// ---- between processes ----

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
