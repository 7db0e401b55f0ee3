//! Builds the servers.

use crate::peer::{Peer, Program};
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

/// The folder of all builds. This program is in it.
pub fn folder() -> PathBuf {
    let program = env::current_exe().expect("this program has a path");
    program.ancestors().nth(2).expect("the program is in a folder of the build folder").to_owned()
}

/// Builds a server. Returns the command that starts it, or why it cannot be built.
pub fn build(peer: &Peer) -> Result<Command, String> {
    eprintln!("build: {}", peer.name);
    let mut command = match peer.program {
        Program::Rust(package) => rust(package)?,
        Program::Node => node()?,
    };
    command.envs(peer.environment.iter().copied());
    Ok(command)
}

/// Each package is built by itself, so that none gets features that another one asks for.
fn rust(package: &str) -> Result<Command, String> {
    let cargo = env::var_os("CARGO").unwrap_or("cargo".into());
    run(Command::new(cargo).args(["build", "--release", "-p", package]).current_dir(PACKAGE))?;
    Ok(Command::new(folder().join("release").join(package)))
}

fn node() -> Result<Command, String> {
    let source = Path::new(PACKAGE).join("servers/express-session");
    let place = folder().join("express-session");
    fs::create_dir_all(&place).map_err(|error| format!("{}: {error}", place.display()))?;
    let lock = |folder: &Path| fs::read(folder.join("package-lock.json")).ok();
    let is_installed = lock(&place) == lock(&source) && place.join("node_modules/.package-lock.json").exists();
    for file in ["package.json", "package-lock.json", "server.js"] {
        fs::copy(source.join(file), place.join(file)).map_err(|error| format!("{file}: {error}"))?;
    }
    run(Command::new("node").arg("--version"))?;
    if !is_installed {
        run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&place))?;
    }
    let mut command = Command::new("node");
    command.arg(place.join("server.js"));
    Ok(command)
}

/// Runs a command and shows what it says. If it fails, gives the lines in which it says why.
fn run(command: &mut Command) -> Result<(), String> {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = started.map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!("{name} is not installed"),
        _ => format!("{name} does not start: {error}"),
    })?;
    let mut reasons = Vec::new();
    for line in BufReader::new(child.stderr.take().expect("it is piped")).lines().map_while(Result::ok) {
        eprintln!("  {line}");
        if ["error", "npm error", "npm ERR"].iter().any(|start| line.starts_with(start)) {
            reasons.push(line);
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() {
        return Ok(());
    }
    reasons.truncate(3);
    Err(format!("{name} ended with {status}: {}", reasons.join("; ")))
}
