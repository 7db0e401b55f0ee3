//! `mps purge`.

use crate::failure::Failure;
use crate::interrupt;
use crate::opened::Opened;
use crate::output::Output;
use crate::progress::Progress;
use serde_json::json;
use std::time::Duration;

/// How long one call goes on, so that Ctrl-C and the progress do not wait.
const STEP: Duration = Duration::from_secs(5);

pub(crate) fn run(opened: &Opened, output: &mut Output) -> Result<(), Failure> {
    let progress = Progress::new("removing");
    let mut removed = 0;
    loop {
        interrupt::check()?;
        opened.check_file()?;
        let call = opened.call_within(STEP)?;
        let purged = opened.store.purge(&opened.namespace, &call).map_err(|error| opened.failed(&error))?;
        removed += purged.removed;
        progress.add(purged.removed as usize);
        if !purged.more {
            break;
        }
    }
    drop(progress);
    output.print(|| json!({ "removed": removed }), || format!("{removed} records of ended sessions were removed"))
}
