//! Runs the program `mps` as a process of its own.

use serde_json::Value;
use std::process::{Command, Output};

/// What a run of the program has printed, and its exit code.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Returns the command with these arguments, for the store at this URL. The URL stands in the environment.
pub fn command(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mps"));
    for variable in ["MPS_STORE", "MPS_PASSWORD", "MPS_TO", "MPS_TO_PASSWORD"] {
        command.env_remove(variable);
    }
    command.args(arguments).env("MPS_STORE", url);
    command
}

pub fn ran(output: &Output) -> Ran {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it prints text");
    Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Runs the program.
pub fn run(url: &str, arguments: &[&str]) -> Ran {
    ran(&command(url, arguments).output().expect("it runs"))
}

/// Runs the program, which has to succeed, and gives its output.
#[track_caller]
pub fn output(url: &str, arguments: &[&str]) -> String {
    let ran = run(url, arguments);
    assert!(ran.code == Some(0) && ran.err.is_empty(), "{arguments:?}: {ran:?}");
    ran.out
}

/// Runs the program with `--json`, and gives the objects that it has printed.
#[track_caller]
pub fn json(url: &str, arguments: &[&str]) -> Vec<Value> {
    let text = output(url, &[arguments, &["--json"]].concat());
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Runs the program with `--json`, and gives the only object that it has printed.
#[track_caller]
pub fn one(url: &str, arguments: &[&str]) -> Value {
    let mut objects = json(url, arguments);
    assert_eq!(objects.len(), 1, "{objects:?}");
    objects.remove(0)
}
