//! A peer in the comparison: its running server and its figures, or why it is missing.

use crate::load::Visitor;
use crate::measure::Figures;
use crate::peer::Peer;
use crate::redis::Redis;
use crate::server::Server;
use std::fmt;
use std::process::Command;

pub struct Contender {
    pub peer: &'static Peer,
    pub state: Result<Running, Missing>,
}

pub struct Running {
    pub server: Server,
    pub visitors: Vec<Visitor>,
    pub figures: Figures,
}

pub enum Missing {
    NotBuilt(String),
    Failed(String),
}

impl Contender {
    pub fn start(peer: &'static Peer, command: Result<Command, String>, redis: &Redis) -> Contender {
        let start = |command| -> Result<Running, String> {
            let server = Server::start(command, &redis.url())?;
            let visitors = Visitor::log_in(&server)?;
            Ok(Running { server, visitors, figures: Figures::default() })
        };
        let state = command.map_err(Missing::NotBuilt).and_then(|command| start(command).map_err(Missing::Failed));
        Contender { peer, state }
    }

    /// Does the next step, unless the peer is missing already. If the step fails, the peer is missing from now on.
    pub fn go_on(&mut self, step: &str, work: impl FnOnce(&mut Running) -> Result<(), String>) {
        if let Ok(running) = &mut self.state {
            eprintln!("{step}: {}", self.peer.name);
            if let Err(reason) = work(running) {
                self.state = Err(Missing::Failed(format!("{step}: {reason}")));
            }
        }
    }

    /// Whether the peer was compared. A peer that this machine cannot build may be missing, but this library may not.
    pub fn is_all_right(&self) -> bool {
        match &self.state {
            Ok(_) => true,
            Err(Missing::NotBuilt(_)) => !self.peer.is_ours(),
            Err(Missing::Failed(_)) => false,
        }
    }
}

impl Missing {
    /// What stands in the table.
    pub fn word(&self) -> &'static str {
        match self {
            Missing::NotBuilt(_) => "not built",
            Missing::Failed(_) => "failed",
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Missing::NotBuilt(reason) | Missing::Failed(reason)) = self;
        write!(f, "{}: {reason}", self.word())
    }
}
