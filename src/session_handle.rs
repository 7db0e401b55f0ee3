//! Handles that outlive their request, and tell whether the session is still alive.

use crate::context::Context;
use crate::error::Error;
use crate::id::{GroupTag, PublicId};
use crate::store::call::Call;
use crate::store::key::RecordKey;
use crate::store::store_trait::Store;
use std::fmt;
use std::sync::Arc;

/// A handle that outlives its request, and tells whether the session is still alive.
///
/// Use it for WebSockets, server-sent events and long downloads. [`Session::to_handle`](crate::Session::to_handle)
/// makes a handle. [`SessionManager::are_alive`](crate::SessionManager::are_alive) checks many handles at once. A
/// handle does not extend the session's life, holds no values, and gives no access to the session.
///
/// [`is_alive`](SessionHandle::is_alive) returns `true` for as long as a request with the same cookie would find the
/// session. So it returns `false` after the session got a new id: by a login,
/// [`leave_group`](crate::Session::leave_group) or [`regenerate`](crate::Session::regenerate). Then the client has to
/// connect again, with its new cookie. If the new id came [with a grace](crate::Session::regenerate_with_grace), and
/// the handle is checked during that grace, the handle takes over the new id, and goes on to return `true` after the
/// grace.
///
/// # Security
/// Without this check, a WebSocket goes on after the logout (OWASP WebSocket cheat sheet). Check the handle every few
/// seconds, and before anything sensitive.
///
/// # Examples
/// ```
/// # use multi_process_session::{Secret, SessionManager};
/// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
/// let mut session = manager.load(None)?;
/// session.set_group_name("ada");
/// session.save()?;
/// let mut handle = session.to_handle().expect("the session is saved");
/// assert!(handle.is_alive()?);
///
/// manager.group("ada").clear()?; // in any process
/// assert!(!handle.is_alive()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SessionHandle {
    context: Arc<Context>,
    tag: Option<GroupTag>,
    /// The id of the session. `None` once the session has ended.
    id: Option<PublicId>,
}

impl SessionHandle {
    pub(crate) fn new(context: Arc<Context>, key: &RecordKey<'_>) -> SessionHandle {
        let (tag, id) = (key.tag, Some(key.id));
        SessionHandle { context, tag, id }
    }

    /// Returns whether the session is still alive. After the first `false`, every later result is `false` too.
    ///
    /// This costs one round trip, and one more if the session has got a new id. After a `false` it costs none.
    ///
    /// # Errors
    /// [`Error::Store`]: the session may be alive or not. [`Error::Randomness`].
    pub fn is_alive(&mut self) -> Result<bool, Error> {
        let context = self.context.clone();
        Ok(are_alive(&context, vec![self])? == [true])
    }
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionHandle").field("public_id", &self.id).finish_non_exhaustive()
    }
}

/// Returns for each of these handles whether its session is alive. Handles of other managers are asked one by one.
pub(crate) fn are_alive(context: &Arc<Context>, mut handles: Vec<&mut SessionHandle>) -> Result<Vec<bool>, Error> {
    let is_own = |handle: &SessionHandle| Arc::ptr_eq(&handle.context, context);
    let own = handles
        .iter()
        .filter(|handle| is_own(handle))
        .filter_map(|handle| Some(RecordKey { namespace: &context.namespace, tag: handle.tag, id: handle.id? }));
    let keys: Vec<RecordKey<'_>> = own.collect();
    let ids = match keys.is_empty() {
        true => Vec::new(),
        false => {
            let call = Call::until(context.deadline())?;
            context.store.present_ids(&keys, &context.limits.lifetime, &call)?
        }
    };
    let mut ids = ids.into_iter();
    let alive = handles.iter_mut().map(|handle| match is_own(handle) {
        true if handle.id.is_some() => {
            handle.id = ids.next().flatten();
            Ok(handle.id.is_some())
        }
        true => Ok(false),
        false => handle.is_alive(),
    });
    alive.collect()
}
