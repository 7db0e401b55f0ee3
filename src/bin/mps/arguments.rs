//! What may stand on the command line.

use clap::{Args, Parser, Subcommand};
use multi_process_session::PublicId;
use std::path::PathBuf;
use std::time::Duration;

/// Show the sessions of a store, end sessions, check the store, and copy all sessions to another store.
///
/// The store belongs to an application that uses the library multi-process-session: a Redis server, Sentinels, a Redis
/// Cluster, or a SQLite file. You name a session by its public id, and a user by name. The program does not need the
/// application's secret. It never shows a token, because a store holds no tokens.
#[derive(Debug, Parser)]
#[command(name = "mps", version, max_term_width = 100, propagate_version = true)]
#[command(after_long_help = include_str!("help/mps.txt"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Args, Debug)]
pub(crate) struct Global {
    /// The store: the URL that the application gives to `store_url`, without the password.
    ///
    /// Default: the environment variable MPS_STORE. A URL in this variable may have a password.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// A file whose only line is the password of the store.
    ///
    /// Default: the environment variable MPS_PASSWORD. Write the password as it is, not percent-encoded.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// The namespace of the application.
    #[arg(long, global = true, value_name = "NAME", default_value = "mps", value_parser = namespace)]
    pub(crate) namespace: String,
    /// The longest time that one call to the store may take.
    #[arg(long, global = true, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Print JSON: one object in each line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Count the live sessions.
    ///
    /// Looks at the sessions a few at a time, without their values, so that the application does not wait.
    #[command(after_long_help = include_str!("help/count.txt"))]
    Count,
    /// List the live sessions.
    ///
    /// Prints a line for each session, in the order in which the store gives them. The output begins at once, and the
    /// program needs little memory, however many sessions there are.
    #[command(after_long_help = include_str!("help/list.txt"))]
    List(List),
    /// Show one session.
    ///
    /// Prints the times and the user of a session, and the key and the size of each value.
    #[command(after_long_help = include_str!("help/show.txt"))]
    Show(Show),
    /// End one session: log out one device.
    #[command(after_long_help = include_str!("help/end.txt"))]
    End(End),
    /// End all sessions of a user: log out all devices.
    ///
    /// All sessions end in one step, including those that the application is saving at that moment.
    #[command(after_long_help = include_str!("help/end-user.txt"))]
    EndUser(EndUser),
    /// Remove what is left of sessions that have ended.
    ///
    /// The application does this too, a little with each login. Use the command if the store was not used for a while,
    /// or if all sessions were ended at once.
    #[command(after_long_help = include_str!("help/purge.txt"))]
    Purge,
    /// Watch the store: whether it answers, how fast, and its figures.
    ///
    /// Looks at the store again and again, until Ctrl-C. On a terminal, a table shows the last look. Otherwise each
    /// look prints one line. If the store is down, the command says so, and tries again at the next look.
    #[command(after_long_help = include_str!("help/watch.txt"))]
    Watch(Watch),
    /// Compare the settings of the store with what the guide advises.
    ///
    /// Prints a line for each setting, with a verdict and the present value, and what to do if something is not as
    /// advised. It changes no session and no setting, but it opens a SQLite file as the application does: with the
    /// journal mode WAL.
    #[command(after_long_help = include_str!("help/check.txt"))]
    Check,
    /// Copy all live sessions to another store.
    ///
    /// Each session keeps its values, its life, its user and its public id. The cookies stay valid if the application
    /// keeps its secret and its namespace. Both stores may be in use during the copy.
    #[command(after_long_help = include_str!("help/copy.txt"))]
    Copy(Copy),
}

#[derive(Args, Debug)]
pub(crate) struct List {
    /// List only the sessions of this user: the name that the application gives to `set_group_name`.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) user: Option<String>,
    /// Stop after this number of sessions.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

#[derive(Args, Debug)]
pub(crate) struct Show {
    /// The public id of the session. `mps list` and the log of the application show it.
    // An id may begin with a hyphen.
    #[arg(allow_hyphen_values = true)]
    pub(crate) id: PublicId,
    /// Show the values too. They may be personal data.
    #[arg(long)]
    pub(crate) values: bool,
}

#[derive(Args, Debug)]
pub(crate) struct End {
    /// The public id of the session. `mps list` and the log of the application show it.
    #[arg(allow_hyphen_values = true)]
    pub(crate) id: PublicId,
}

#[derive(Args, Debug)]
pub(crate) struct EndUser {
    /// The user: the name that the application gives to `set_group_name`.
    #[arg(allow_hyphen_values = true)]
    pub(crate) name: String,
    /// The public id of a session of the user that does not end.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub(crate) except: Option<PublicId>,
}

#[derive(Args, Debug)]
pub(crate) struct Watch {
    /// The time from one look to the next.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub(crate) every: Duration,
    /// Stop after this number of looks.
    #[arg(long, value_name = "N")]
    pub(crate) times: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct Copy {
    /// The target: the URL of the other store, without the password.
    ///
    /// Default: the environment variable MPS_TO. A URL in this variable may have a password.
    #[arg(long, value_name = "URL")]
    pub(crate) to: Option<String>,
    /// A file whose only line is the password of the target.
    ///
    /// Default: the environment variable MPS_TO_PASSWORD.
    #[arg(long, value_name = "FILE")]
    pub(crate) to_password_file: Option<PathBuf>,
    /// End the sessions of the target that the source does not have.
    ///
    /// Use it only while no application writes to the target. Otherwise it ends the new sessions there.
    #[arg(long)]
    pub(crate) delete: bool,
    /// Change nothing. Only count what a copy would do.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The number of sessions that are copied at the same time.
    ///
    /// Default: 4. If the target is a SQLite file, 1, because such a file has one writer at a time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) threads: Option<u8>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let allowed = Duration::from_millis(1)..=Duration::from_secs(3600);
    seconds.filter(|time| allowed.contains(time)).ok_or_else(|| "it has to be a number from 0.001 to 3600".to_owned())
}

fn namespace(text: &str) -> Result<String, String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(is_allowed) {
        Ok(text.to_owned())
    } else {
        Err("it has to be 1 to 64 ASCII letters, digits, '-', '_' or '.'".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_fit_together() {
        Arguments::command().debug_assert();
    }
}
