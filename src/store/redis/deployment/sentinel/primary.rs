//! The primary that Sentinels name, as one process knows it.
//!
//! After a failover, the old primary may accept writes for many seconds more, and these writes are lost. So the process
//! asks a Sentinel about once a second whether the primary is still the same node.

use crate::deadline::Deadline;
use crate::error::StoreError;
use crate::store::redis::deployment::connections::{Connections, Epoch};
use crate::store::redis::deployment::sentinel::Sentinels;
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::node::Node;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The pause between two questions to the Sentinels. While none of them answers, the pause grows.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub(crate) struct Primary {
    pub(crate) sentinels: Arc<Sentinels>,
    /// The node to which the connections of the present epoch lead, if that is known.
    node: Mutex<Option<Node>>,
    watch: Mutex<Watch>,
}

struct Watch {
    /// A connection to a Sentinel, kept for the next question.
    sentinel: Option<Connection>,
    asked_at: Instant,
    pause: Duration,
}

impl Primary {
    pub(crate) fn new(sentinels: Arc<Sentinels>) -> Primary {
        let watch = Watch { sentinel: None, asked_at: Instant::now(), pause: PAUSE };
        Primary { sentinels, node: Mutex::default(), watch: Mutex::new(watch) }
    }

    /// If a question is due, asks whether another node is the primary now. If another node is, closes all connections
    /// to the old primary. One call asks, and the others do not wait for its answer.
    pub(crate) fn check(&self, connections: &Connections, name: &str, deadline: Deadline) {
        let Ok(mut watch) = self.watch.try_lock() else { return };
        if watch.asked_at.elapsed() < watch.pause {
            return;
        }
        // If no Sentinel answers, the call must still succeed, and must still have most of its time.
        let answer = self.sentinels.ask_again(&mut watch.sentinel, deadline.share_of(4));
        let Some(named) = watch.note_answer(answer, name) else { return };
        let mut node = lock(&self.node);
        let Some(old) = node.take_if(|old| *old != named) else { return };
        log::warn!("{name} is {named} now, and no longer {old}");
        watch.sentinel = None;
        connections.end_current_epoch();
        drop((node, watch));
        connections.close_idle();
    }

    /// Notes the node to which a new connection leads, and gives the epoch of the connection. `before` is the epoch at
    /// the moment when connecting began. If the node is a new primary, all connections to the old one are closed: the
    /// idle ones now, and the others after their request.
    pub(crate) fn note_connection(&self, to: Node, before: Epoch, connections: &Connections) -> Epoch {
        let mut node = lock(&self.node);
        // If the epoch has ended meanwhile, this connection may lead to the old primary. It is used for this request
        // only.
        if node.as_ref() == Some(&to) || connections.epoch() != before {
            return before;
        }
        let old = node.replace(to);
        drop(node);
        match old {
            Some(_) => connections.replace_node(before).unwrap_or(before),
            None => before,
        }
    }

    pub(crate) fn close_idle(&self) {
        lock(&self.watch).sentinel = None;
    }
}

impl Watch {
    /// Notes whether a Sentinel has answered, and gives the node that it names.
    fn note_answer(&mut self, answer: Result<Node, StoreError>, name: &str) -> Option<Node> {
        self.asked_at = Instant::now();
        match answer {
            Ok(named) => {
                if mem::replace(&mut self.pause, PAUSE) > PAUSE {
                    log::warn!("{name}: a Sentinel answers again");
                }
                Some(named)
            }
            Err(error) => {
                if self.pause == PAUSE {
                    log::warn!("{name} stays in use, but no Sentinel says whether it is still the same node: {error}");
                }
                self.pause = LONGEST_PAUSE.min(self.pause * 2);
                None
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
