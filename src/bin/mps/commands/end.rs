//! `mps end` and `mps end-user`.

use crate::failure::Failure;
use crate::opened::Opened;
use crate::output::Output;
use multi_process_session::store::{GroupKey, Located};
use multi_process_session::{EndReason, PublicId};
use serde_json::json;

pub(crate) fn session(opened: &Opened, id: PublicId, output: &mut Output) -> Result<(), Failure> {
    let (store, failed) = (&opened.store, |error| opened.failed(&error));
    let found = store.find(&opened.namespace, id, &opened.call()?).map_err(failed)?;
    let ended = match found {
        Some(at) => {
            let reason = EndReason::LoggedOutElsewhere;
            store.delete(&at.key(&opened.namespace), reason, &opened.call()?).map_err(failed)?
        }
        None => None,
    };
    if ended.is_none() {
        return Err(Failure::Found(format!("the store has no live session with the id {id}")));
    }
    output.print(|| json!({ "ended": 1 }), || "1 session has ended".to_owned())
}

pub(crate) fn user(opened: &Opened, name: &str, except: Option<PublicId>, output: &mut Output) -> Result<(), Failure> {
    let (store, group) = (&opened.store, GroupKey::named(&opened.namespace, name));
    let failed = |error| opened.failed(&error);
    if let Some(id) = except {
        let place = Located { id, tag: Some(group.tag) };
        // If it were not there, all sessions would end.
        if store.read(&opened.namespace, &[place], false, &opened.call()?).map_err(failed)?.is_empty() {
            return Err(Failure::Found(format!("the session {id} is not a live one of {name}; nothing was ended")));
        }
    }
    let ended = store.clear_group(&group, except, &opened.call()?).map_err(failed)?.number;
    if ended == 0 && except.is_none() {
        return Err(Failure::Found(format!("the store has no live session of the user {name}")));
    }
    output.print(|| json!({ "ended": ended }), || format!("{ended} {} ended", sessions_have(ended)))
}

fn sessions_have(number: u64) -> &'static str {
    if number == 1 { "session has" } else { "sessions have" }
}
