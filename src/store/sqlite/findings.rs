//! Compares the files, the disk and the settings of the store with what the guide advises.

use crate::error::StoreError;
use crate::store::maintenance::Verdict::{self, Good, Risky, Unknown, Wrong};
use crate::store::maintenance::{Figure, Finding};
use crate::store::sqlite::columns::milliseconds;
use crate::store::sqlite::failure::Failure;
use crate::store::sqlite::files::{companion, own_user};
use crate::store::sqlite::operation::Operation;
use crate::store::sqlite::regular_file::length;
use crate::store::sqlite::wal::LOG_LENGTH;
use crate::store::sqlite::{machine, pages, reserve};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// The room that the guide wants to be free on the disk, in bytes.
const FREE: u64 = 8_000_000;
/// A log of more than this many times its usual length is a sign of trouble.
const LONG_LOG: u64 = 4;
/// File systems over which SQLite's locks do not work, or on which they are known to fail.
const NETWORK: [&str; 12] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "ceph",
    "lustre",
    "fuse.sshfs",
    "fuse.glusterfs",
    "fuse.s3fs",
];

impl Operation<'_> {
    /// Compares the store with the guide. `full_sync` says whether each change waits for the disk.
    pub(crate) fn findings(&self, full_sync: bool) -> Result<Vec<Finding>, Failure<StoreError>> {
        let mut findings = vec![self.journal_mode()?, synchronous(full_sync)];
        if let Some(database) = self.sqlite.path().map(Path::new) {
            let folder = database.parent().unwrap_or(database);
            findings.extend([
                file_mode(database),
                folder_mode(folder),
                file_system(database, folder),
                free_space(folder),
                log(database),
                reserve(database),
                programs(database),
            ]);
        }
        Ok(findings)
    }

    /// Returns figures of the file and of what it holds.
    pub(crate) fn figures(&self) -> Result<Vec<Figure>, Failure<StoreError>> {
        let now = milliseconds(self.now());
        let count = |sql: &str| -> rusqlite::Result<i64> { self.sqlite.query_row(sql, [], |row| row.get(0)) };
        let expired = format!("SELECT count(*) FROM sessions WHERE expires <= {now}");
        let (rows, expired) = (count("SELECT count(*) FROM sessions")?, count(&expired)?);
        let mut figures = vec![
            ("sessions", (rows - expired) as f64),
            ("expired_sessions", expired as f64),
            ("groups", count("SELECT count(*) FROM groups")? as f64),
            ("namespaces", count("SELECT count(*) FROM namespaces")? as f64),
            ("pages", pages::count(self.sqlite)? as f64),
            ("free_pages", pages::free(self.sqlite)? as f64),
            ("page_size_bytes", pages::size(self.sqlite)? as f64),
        ];
        if let Some(database) = self.sqlite.path().map(Path::new) {
            figures.push(("file_bytes", length(database) as f64));
            for (name, ending) in
                [("log_bytes", "-wal"), ("shared_memory_bytes", "-shm"), ("reserve_bytes", "-reserve")]
            {
                figures.push((name, length(&companion(database, ending)) as f64));
            }
        }
        Ok(figures.into_iter().map(|(name, value)| Figure { name: name.to_owned(), value }).collect())
    }

    fn journal_mode(&self) -> Result<Finding, Failure<StoreError>> {
        let mode: String = self.sqlite.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        let advice = "Readers and writers wait for each other. Keep the file on a local disk, and let no other program \
                      change its journal mode.";
        let verdict = if mode == "wal" { Good } else { Wrong };
        Ok(finding(verdict, "journal mode", mode, advice))
    }
}

fn synchronous(full_sync: bool) -> Finding {
    let found = if full_sync { "full" } else { "normal: a power loss can lose the last changes" };
    finding(Good, "synchronous", found, "")
}

fn file_mode(database: &Path) -> Finding {
    let Ok(file) = fs::metadata(database) else { return unknown("file mode", "the file cannot be looked at") };
    let mode = file.permissions().mode() & 0o777;
    let found = format!("{mode:o}, user {}", file.uid());
    let (verdict, advice) = if mode & 0o022 != 0 {
        (Wrong, "Others than the owner can write the file, so they can log in as anybody: chmod 600.")
    } else if own_user().is_some_and(|me| me != file.uid() && me != 0 && file.uid() != 0) {
        (Risky, "The file belongs to another user, who can log in as anybody.")
    } else if mode & 0o044 != 0 {
        (Risky, "Others than the owner can read the values of sessions: chmod 600.")
    } else {
        (Good, "")
    };
    finding(verdict, "file mode", found, advice)
}

/// Looks at the folder, and at all folders above it: who can write to one of them can replace what is in it, unless the
/// sticky bit prevents that.
fn folder_mode(folder: &Path) -> Finding {
    let mode_of = |folder: &Path| fs::metadata(folder).map(|about| (about.permissions().mode() & 0o7777, about.uid()));
    let Ok((mode, user)) = mode_of(folder) else { return unknown("folder mode", "the folder cannot be looked at") };
    let found = format!("{mode:o}, user {user}");
    let replaceable = "Others than the owner can replace the file, so they can log in as anybody: chmod go-w.";
    let is_open = |mode: u32| mode & 0o022 != 0 && mode & 0o1000 == 0;
    let parent = folder.ancestors().skip(1).find(|parent| mode_of(parent).is_ok_and(|(mode, _)| is_open(mode)));
    let (verdict, found, advice) = if is_open(mode) {
        (Wrong, found, replaceable)
    } else if let Some(parent) = parent {
        (Wrong, format!("{found}, but others can write to {}", parent.display()), replaceable)
    } else if mode & 0o022 != 0 {
        (Risky, found, "Others share the folder. Give the sessions a folder of their own.")
    } else {
        (Good, found, "")
    };
    finding(verdict, "folder mode", found, advice)
}

fn file_system(database: &Path, folder: &Path) -> Finding {
    let what = "file system";
    if machine::is_mount_point(database) {
        let advice = "Mount the folder, not the file: each container has companions of its own, which ruins the file.";
        return finding(Wrong, what, "the file itself is mounted", advice);
    }
    let Some(kind) = machine::file_system(folder) else { return unknown(what, "this system does not tell") };
    let (verdict, advice) = match &*kind {
        kind if NETWORK.contains(&kind) => {
            (Wrong, "SQLite's locks do not work over network file systems. Use a local disk, or Redis.")
        }
        "tmpfs" | "ramfs" => (Risky, "The file is in memory: a restart of the machine ends all sessions."),
        _ => (Good, ""),
    };
    finding(verdict, what, kind, advice)
}

fn free_space(folder: &Path) -> Finding {
    let what = "free disk space";
    let Some(bytes) = machine::free_space(folder) else { return unknown(what, "df does not tell") };
    let advice = "Leave 8 MB of the disk free beside the sessions, and more if sessions become more.";
    finding(if bytes >= FREE { Good } else { Wrong }, what, format!("{bytes} bytes"), advice)
}

fn log(database: &Path) -> Finding {
    let bytes = length(&companion(database, "-wal"));
    let verdict = if bytes <= LONG_LOG * LOG_LENGTH { Good } else { Risky };
    let advice = "The log can begin anew only while no transaction is open. Look for a program that keeps one open, \
                  such as a shell of SQLite.";
    finding(verdict, "size of the log", format!("{bytes} bytes"), advice)
}

fn reserve(database: &Path) -> Finding {
    let bytes = length(&companion(database, "-reserve"));
    let verdict = if reserve::is_whole(database, 0) { Good } else { Risky };
    let advice = "The reserve keeps room for logouts on a full disk. The next save makes it. If it stays too small, \
                  the disk is full.";
    finding(verdict, "reserve", format!("{bytes} bytes"), advice)
}

/// Tells which other programs have the file open. Whether they should is for the operator to say.
fn programs(database: &Path) -> Finding {
    let Some((programs, all)) = machine::programs_with(database) else {
        return unknown("other programs", "this system does not tell");
    };
    let mut found: Vec<String> = programs.iter().map(|(name, number)| format!("{name} ({number})")).collect();
    if found.is_empty() {
        found.push("none".to_owned());
    }
    let found = found.join(", ");
    match all {
        true => finding(Good, "other programs", found, ""),
        false => Finding {
            advice: "This user may not look at all processes: ask as root.".to_owned(),
            ..finding(Unknown, "other programs", found, "")
        },
    }
}

/// Makes a finding. It has the advice only if something is wrong.
fn finding(verdict: Verdict, what: &str, found: impl Into<String>, advice: &str) -> Finding {
    let advice = if verdict == Good { "" } else { advice };
    Finding { verdict, what: what.to_owned(), found: found.into(), advice: advice.to_owned() }
}

fn unknown(what: &str, why: &str) -> Finding {
    finding(Unknown, what, "", why)
}
