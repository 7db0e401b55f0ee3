//! Runs the targets on stable Rust, with a mutator that knows nothing of coverage. See `README.md`.

mod mutator;

use mutator::Mutator;
use nix::sys::resource::{Resource, setrlimit};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use targets::{TARGETS, Target};

/// If an input takes longer, it hangs. On a busy machine, its calls may take up to 20 seconds.
const HANG: Duration = Duration::from_secs(60);
/// The most memory of a target. The library must not reserve gigabytes because a reply announces them.
const MEMORY: u64 = 4 << 30;

/// The input that is being tried, and the time when this began.
static TRIED: Mutex<Option<(Instant, Vec<u8>)>> = Mutex::new(None);
/// Whether any thread has panicked. The caller of a thread may not notice its panic.
static HAS_PANICKED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seed = arguments.iter().find_map(|argument| argument.strip_prefix("seed=")).and_then(|seed| seed.parse().ok());
    let words: Vec<&str> = arguments.iter().map(String::as_str).filter(|word| !word.starts_with("seed=")).collect();
    match &words[..] {
        ["replay", name, hex] => run(named(name), |target| {
            (target.run)(&from_hex(hex));
            println!("{name}: this input does no harm");
        }),
        ["only", seconds, name] => run(named(name), |target| fuzz(target, whole(seconds), seed.unwrap_or(1))),
        [seconds, names @ ..] => {
            let all = || TARGETS.iter().map(|target| target.name).collect();
            let names = if names.is_empty() { all() } else { names.to_vec() };
            side_by_side(&names, whole(seconds), seed.unwrap_or_else(seed_of_the_day))
        }
        [] => panic!("usage: fuzz SECONDS [TARGET]... [seed=N], or fuzz replay TARGET HEX"),
    }
}

/// Runs each target in a process of its own, all at the same time.
fn side_by_side(names: &[&str], seconds: u64, seed: u64) -> ExitCode {
    let program = std::env::current_exe().expect("this program has a path");
    let start = |name: &&str| {
        let seed = format!("seed={seed}");
        Command::new(&program).args(["only", &seconds.to_string(), name, &seed]).spawn().expect("this program starts")
    };
    let children: Vec<_> = names.iter().map(start).collect();
    let mut is_well = true;
    for (mut child, name) in children.into_iter().zip(names) {
        let status = child.wait().expect("it is our child");
        if !status.success() {
            eprintln!("{name} failed ({status}); the same inputs again: {seconds} {name} seed={seed}");
            is_well = false;
        }
    }
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Does `work` with a target. A panic of any thread is a failure.
fn run(target: &Target, work: impl FnOnce(&Target)) -> ExitCode {
    setrlimit(Resource::RLIMIT_AS, MEMORY, MEMORY).expect("a limit that is lower than before");
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        HAS_PANICKED.store(true, Ordering::Relaxed);
        show(panic);
    }));
    let name = target.name;
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let tried = TRIED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if tried.as_ref().is_some_and(|(since, _)| since.elapsed() > HANG) {
                drop(tried);
                report(name);
                std::process::exit(1);
            }
        }
    });
    let is_well = catch_unwind(AssertUnwindSafe(|| work(target))).is_ok() && !HAS_PANICKED.load(Ordering::Relaxed);
    if is_well {
        return ExitCode::SUCCESS;
    }
    report(name);
    ExitCode::FAILURE
}

fn report(name: &str) {
    let tried = TRIED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some((since, input)) = &*tried {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        let took = since.elapsed();
        eprintln!("{name} fails or hangs ({took:.1?}) with this input; try it again: replay {name} {hex}");
    }
}

fn fuzz(target: &Target, seconds: u64, seed: u64) {
    let mut mutator = Mutator::new(seed, (target.seeds)());
    let (start, mut inputs) = (Instant::now(), 0_u64);
    while start.elapsed() < Duration::from_secs(seconds) && !HAS_PANICKED.load(Ordering::Relaxed) {
        let input = mutator.next_input();
        *TRIED.lock().expect("nobody panics with it") = Some((Instant::now(), input.clone()));
        (target.run)(&input);
        inputs += 1;
    }
    println!("{}: {inputs} inputs in {seconds} s, seed={seed}", target.name);
}

fn named(name: &str) -> &'static Target {
    let names = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>();
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("the targets are {:?}", names()))
}

fn whole(seconds: &str) -> u64 {
    seconds.parse().expect("a number of seconds")
}

fn seed_of_the_day() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |time| time.as_secs())
}

fn from_hex(hex: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("two hexadecimal digits");
    (0..hex.len()).step_by(2).map(byte).collect()
}
