//! The commands of the guide work as they are written, one after the other.

use super::mps::command;
use crate::support::ports::free_port;
use crate::support::redis::Redis;
use crate::support::sqlite::Sqlite;
use crate::support::{is_alive, login, manager, public_id};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The commands of a page, without the one that installs the program. A block in a list is indented.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("```sh\n").skip(1).filter_map(|block| block.split("```").next());
    let lines = blocks.flat_map(str::lines).map(str::trim).filter(|line| !line.is_empty());
    lines.filter(|line| !line.starts_with("cargo install")).map(str::to_owned).collect()
}

#[test]
fn every_command_works() {
    let (port, sqlite, folder) = (free_port(), Sqlite::new(), tempfile::tempdir().unwrap());
    let redis = Redis::start_with(&["--port", &port.to_string(), "--appendonly", "yes"]);
    redis.add_user_of_the_guide();
    redis.run::<()>(&["ACL", "SETUSER", "sessions", "+info", "+config|get", "+acl|getuser"]);
    let password = folder.path().join("redis-password");
    fs::write(&password, "password\n").unwrap();
    let [of_sqlite, of_redis] = [sqlite.url(), redis.url()].map(|url| manager(&url));
    let moved = login(&of_sqlite, "eve");
    let ended = login(&of_redis, "ada");
    login(&of_redis, "ada");
    let id = public_id(&of_redis, &ended).to_string();
    let commands = commands(include_str!("../../../docs/operating.md"));
    assert!(commands.len() > 20, "{commands:?}");
    let here = |line: &String| {
        line.replace("sqlite:///var/lib/app/sessions.db", &sqlite.url())
            .replace("redis://sessions@10.0.0.5", &format!("redis://sessions@127.0.0.1:{port}"))
            .replace("/etc/app/redis-password", password.to_str().unwrap())
            .replace("AR7H9A_cQ_iNivqJNnu2ovXw", &id)
    };
    let script: String = commands.iter().map(|line| format!("{}\n", here(line))).collect();
    let program = command("", &[]);
    let bin = Path::new(program.get_program()).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh").args(["-eux", "-c", &script]).env("PATH", path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(!is_alive(&of_redis, &ended) && is_alive(&of_redis, &moved), "{text}");
}
