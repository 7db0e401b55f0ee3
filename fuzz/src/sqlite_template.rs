//! A SQLite file of a few sessions, from which each input begins.

use crate::calls::{GROUP, login, renew};
use crate::{PATIENT, secret};
use multi_process_session::SessionManager;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(crate) struct Template {
    folder: PathBuf,
    /// The database alone, with everything in it.
    pub(crate) whole: Vec<u8>,
    /// The database and its log, as they are while they are in use.
    pub(crate) in_use: (Vec<u8>, Vec<u8>),
    /// `Cookie` headers of sessions, and of ids before that still lead to them.
    pub(crate) cookies: Vec<String>,
    _janitor: Child,
}

impl Template {
    pub(crate) fn new() -> Template {
        let folder = tempfile::Builder::new().prefix("mps-fuzz-").tempdir().expect("a temporary folder").keep();
        // Removes the folder once this process has ended, however it did.
        let janitor = Command::new("sh")
            .args(["-c", "cat; rm -rf \"$PWD\""])
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut template =
            Template { folder, whole: Vec::new(), in_use: Default::default(), cookies: Vec::new(), _janitor: janitor };
        let manager = template.manager(PATIENT);
        for number in 0..12 {
            let group = (number % 3 > 0).then_some(GROUP);
            template.cookies.push(login(&manager, &format!("user{number}"), group));
        }
        let renewed: Vec<String> = template.cookies[..4].iter().map(|cookie| renew(&manager, cookie)).collect();
        template.cookies.extend(renewed);
        let ended = login(&manager, "ended", Some(GROUP));
        let _ = manager.destroy(ended.as_str()).expect("the file works");
        let [file, log, _] = template.files().map(|path| fs::read(path).unwrap_or_default());
        drop(manager);
        template.in_use = (file, log);
        // When the last connection is closed, SQLite copies the log into the database.
        let connection = rusqlite::Connection::open(template.path()).expect("the file opens");
        connection.pragma_update(None, "wal_checkpoint", "TRUNCATE").expect("the log is taken over");
        drop(connection);
        template.whole = fs::read(template.path()).expect("the file is there");
        template
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join("sessions.db")
    }

    /// The file, its log and the index of that.
    fn files(&self) -> [PathBuf; 3] {
        ["", "-wal", "-shm"].map(|end| PathBuf::from(format!("{}{end}", self.path().display())))
    }

    /// Writes the database and the log, and removes all other files.
    pub(crate) fn write(&self, database: &[u8], log: &[u8]) {
        let [file, log_file, index] = self.files();
        let _ = (fs::remove_file(&log_file), fs::remove_file(index));
        fs::write(file, database).expect("the file can be written");
        if !log.is_empty() {
            fs::write(log_file, log).expect("the log can be written");
        }
    }

    pub(crate) fn manager(&self, timeout: Duration) -> SessionManager {
        let builder = SessionManager::builder(secret(1)).store_url(&format!("sqlite://{}", self.path().display()));
        builder.operation_timeout(timeout).pool_size(1).build().expect("the settings are fine")
    }
}
