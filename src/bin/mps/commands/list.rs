//! `mps list`.

use crate::arguments::List;
use crate::escape::escaped;
use crate::failure::Failure;
use crate::listed::Listed;
use crate::moment::{in_words, time_until, utc};
use crate::opened::Opened;
use crate::output::Output;
use multi_process_session::store::GroupKey;

pub(crate) fn run(opened: &Opened, list: &List, output: &mut Output) -> Result<(), Failure> {
    if output.is_for_eyes() {
        let [created, login, refresh, expires] = ["CREATED", "LAST LOGIN", "LAST REFRESH", "EXPIRES IN"];
        let line = format!("{:24}  {created:20}  {login:20}  {refresh:20}  {expires:10}  USER\n", "PUBLIC ID");
        output.text(&line)?;
    }
    match &list.user {
        Some(name) => members(opened, name, list.limit, output),
        None => all(opened, list.limit, output),
    }
}

fn all(opened: &Opened, limit: Option<usize>, output: &mut Output) -> Result<(), Failure> {
    let mut left = limit.unwrap_or(usize::MAX);
    let mut pages = opened.pages(false);
    while left > 0
        && let Some(page) = pages.next()
    {
        for (at, record) in page?.sessions.iter().take(left) {
            left -= 1;
            print(&Listed::of_record(at, record), output)?;
        }
        output.flush()?;
    }
    Ok(())
}

fn members(opened: &Opened, name: &str, limit: Option<usize>, output: &mut Output) -> Result<(), Failure> {
    let group = GroupKey::named(&opened.namespace, name);
    let sessions = opened.store.group_sessions(&group, &[], &opened.call()?).map_err(|error| opened.failed(&error))?;
    let listed = sessions.iter().take(limit.unwrap_or(usize::MAX));
    listed.map(|session| Listed::of_member(name, session)).try_for_each(|session| print(&session, output))
}

fn print(session: &Listed, output: &mut Output) -> Result<(), Failure> {
    let Listed { id, group, created_at, joined_at, refreshed_at, expires_at } = session;
    let text = || {
        let login = joined_at.map_or("-".to_owned(), utc);
        let expires_in = in_words(time_until(*expires_at));
        let group = group.as_deref().map_or("-".to_owned(), escaped);
        format!("{id}  {}  {login:20}  {}  {expires_in:10}  {group}", utc(*created_at), utc(*refreshed_at))
    };
    output.print(|| session.json(), text)
}
