//! The commands.

mod check;
mod copy;
mod count;
mod end;
mod list;
mod purge;
mod show;
mod watch;

use crate::arguments::{Arguments, Command, Global};
use crate::failure::Failure;
use crate::opened::{Opened, Settings};
use crate::output::Output;
use crate::store_url::Source;

/// Runs the command that the arguments name.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let global = &arguments.global;
    let output = &mut Output::new(global.json);
    match &arguments.command {
        Command::Count => count::run(&open(global)?, output),
        Command::List(list) => list::run(&open(global)?, list, output),
        Command::Show(show) => show::run(&open(global)?, show, output),
        Command::End(end) => end::session(&open(global)?, end.id, output),
        Command::EndUser(end) => end::user(&open(global)?, &end.name, end.except, output),
        Command::Purge => purge::run(&open(global)?, output),
        Command::Watch(watch) => watch::run(&open(global)?, watch, output),
        Command::Check => check::run(&open(global)?, output),
        Command::Copy(copy) => copy::run(global, copy, output),
    }?;
    output.flush()
}

fn open(global: &Global) -> Result<Opened, Failure> {
    let source = Source::of_store(global);
    let settings = Settings { namespace: &global.namespace, timeout: global.timeout, threads: 1, name: "the store" };
    Opened::existing(&source.url()?, &source, &settings)
}
