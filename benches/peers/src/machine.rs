//! What the comparison runs on, and with which versions.

use crate::peer::Program;
use std::path::Path;
use std::process::Command;
use std::{fs, thread};

pub struct Machine {
    pub description: String,
    /// How many processes wanted to run in the last 1, 5 and 15 minutes.
    pub load_before: String,
}

impl Machine {
    pub fn new() -> Machine {
        let processor = field("/proc/cpuinfo", "model name", ':');
        let system = field("/etc/os-release", "PRETTY_NAME", '=');
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let (rust, node) = (output("rustc"), output("node"));
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Machine {
            description: format!("{processor}, {cores} cores, {system}, {rust}, Node.js {node}"),
            load_before: load.split(' ').take(3).collect::<Vec<_>>().join(", "),
        }
    }
}

/// Returns the version of a package in the lock file.
pub fn package_version(program: &Program, package: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default();
    let version = match program {
        Program::Rust(_) => {
            let lock = read("Cargo.lock");
            let entry = lock.split_once(&format!("name = \"{package}\"\nversion = \""));
            entry.and_then(|(_, version)| Some(version.split_once('"')?.0.to_owned()))
        }
        Program::Node => {
            let lock: serde_json::Value =
                serde_json::from_str(&read("servers/express-session/package-lock.json")).unwrap_or_default();
            lock["packages"][format!("node_modules/{package}")]["version"].as_str().map(str::to_owned)
        }
    };
    version.unwrap_or_else(|| "of unknown version".to_owned())
}

/// Returns the value of a field in a file of the system.
fn field(file: &str, name: &str, separator: char) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(separator));
    value.map_or_else(|| format!("{name} unknown"), |value| value.trim().trim_matches('"').to_owned())
}

/// Returns what a program says of its version.
fn output(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    output.map_or_else(|_| "none".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
