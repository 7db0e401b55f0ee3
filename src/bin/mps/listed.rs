//! A session as `list` shows it.

use crate::moment::{time_until, utc};
use multi_process_session::SessionInfo;
use multi_process_session::store::{Located, StoredRecord};
use serde_json::{Value, json};
use std::time::SystemTime;

/// What `list` tells of a session.
pub(crate) struct Listed {
    pub(crate) id: String,
    /// The name of the group, or its tag if the name is not known.
    pub(crate) group: Option<String>,
    pub(crate) created_at: SystemTime,
    pub(crate) joined_at: Option<SystemTime>,
    pub(crate) refreshed_at: SystemTime,
    pub(crate) expires_at: SystemTime,
}

impl Listed {
    pub(crate) fn of_record(at: &Located, record: &StoredRecord) -> Listed {
        let state = &record.state;
        Listed {
            id: at.id.to_string(),
            group: record.group_name.clone().or_else(|| at.tag.map(|tag| tag.to_string())),
            created_at: state.created_at,
            joined_at: state.joined_at,
            refreshed_at: state.refreshed_at.unwrap_or(state.created_at),
            expires_at: state.expires_at,
        }
    }

    pub(crate) fn of_member(group: &str, session: &SessionInfo) -> Listed {
        Listed {
            id: session.public_id().to_string(),
            group: Some(group.to_owned()),
            created_at: session.created_at(),
            joined_at: Some(session.joined_at()),
            refreshed_at: session.refreshed_at(),
            expires_at: session.expires_at(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "id": self.id,
            "user": self.group,
            "created_at": utc(self.created_at),
            "last_login_at": self.joined_at.map(utc),
            "refreshed_at": utc(self.refreshed_at),
            "expires_at": utc(self.expires_at),
            "expires_in_seconds": time_until(self.expires_at).as_secs(),
        })
    }
}
