//! `mps count`.

use crate::failure::Failure;
use crate::opened::Opened;
use crate::output::Output;
use crate::progress::Progress;
use serde_json::json;

pub(crate) fn run(opened: &Opened, output: &mut Output) -> Result<(), Failure> {
    let progress = Progress::new("counting");
    let (mut in_groups, mut alone) = (0_u64, 0_u64);
    for page in opened.pages(false) {
        let sessions = page?.sessions;
        let with_group = sessions.iter().filter(|(at, _)| at.tag.is_some()).count();
        in_groups += with_group as u64;
        alone += (sessions.len() - with_group) as u64;
        progress.add(sessions.len());
    }
    drop(progress);
    let sessions = in_groups + alone;
    output.print(
        || json!({ "sessions": sessions, "sessions_of_users": in_groups, "sessions_without_user": alone }),
        || format!("{sessions} live sessions: {in_groups} of users, {alone} without a user"),
    )
}
