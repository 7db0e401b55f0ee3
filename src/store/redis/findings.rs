//! Compares the settings of every node with what the guide advises.

use crate::error::{StoreError, StoreErrorKind};
use crate::store::maintenance::Finding;
use crate::store::maintenance::Verdict::{self, Good, Risky, Unknown, Wrong};
use crate::store::redis::node_facts::{Info, NodeFacts};
use crate::store::redis::operation::Operation;
use crate::store::redis::wire::error_reply::code;

/// The settings that are compared.
const SETTINGS: [&str; 10] = [
    "save",
    "timeout",
    "tcp-keepalive",
    "min-replicas-to-write",
    "lazyfree-lazy-expire",
    "hash-max-listpack-value",
    "hash-max-ziplist-value",
    "protected-mode",
    "port",
    "maxclients",
];
/// The library keeps idle connections for this many seconds.
const IDLE: u64 = 60;

const FULL: &str = "The memory is full: logins and saves fail. Give Redis more memory, or end sessions earlier.";
const REPLICA: &str = "The node is a replica and takes no writes. Name the primary in the URL.";
const TOO_FEW_REPLICAS: &str = "Fewer replicas are connected than min-replicas-to-write asks for, so logins and saves \
                                fail. Start more replicas, or lower the number.";
const DISK: &str = "Redis cannot write to its disk, and refuses saves because of it. Look into its log.";

/// A verdict with the present value and the advice.
type Verdicts<'a> = (Verdict, String, &'a str);

impl Operation<'_> {
    /// Compares every node that keeps sessions with the guide, and tries whether sessions can be written.
    pub(crate) fn findings(&self, namespace: &str) -> Result<Vec<Finding>, StoreError> {
        let mut findings = vec![self.rights(namespace)?];
        for facts in self.facts_of_each_node(&SETTINGS)? {
            let expects_replicas = self.shared.deployment.expects_replicas();
            findings.extend(of_info(&facts, expects_replicas));
            findings.extend(of_settings(&facts));
        }
        Ok(findings)
    }

    /// Tries all commands that the library needs.
    fn rights(&self, namespace: &str) -> Result<Finding, StoreError> {
        let (verdict, found, advice) = match self.check_writes(namespace) {
            Ok(()) => (Good, "all commands are allowed".to_owned(), ""),
            Err(error) if matches!(error.kind(), StoreErrorKind::Unavailable | StoreErrorKind::Timeout) => {
                return Err(error);
            }
            Err(error) => (Wrong, error.to_string(), advice_for(&error)),
        };
        Ok(Finding { verdict, what: "rights".to_owned(), found, advice: advice.to_owned() })
    }
}

/// Says what to do if sessions cannot be written.
fn advice_for(error: &StoreError) -> &'static str {
    match code(error) {
        "OOM" => FULL,
        "READONLY" => REPLICA,
        "NOREPLICAS" => TOO_FEW_REPLICAS,
        "MISCONF" => DISK,
        "NOPERM" | "NOAUTH" | "WRONGPASS" => "Sessions cannot be written. Give the user the rights of the guide.",
        _ => "Sessions cannot be written, and the error says why.",
    }
}

/// Compares what `INFO` tells.
fn of_info(facts: &NodeFacts, expects_replicas: bool) -> Vec<Finding> {
    type Check = (&'static str, fn(&Info, &NodeFacts) -> Option<Verdicts<'static>>);
    const CHECKS: [Check; 10] = [
        ("version", version),
        ("role", role),
        ("maxmemory-policy", eviction),
        ("maxmemory", memory),
        ("evicted keys", evicted),
        ("persistence", persistence),
        ("last writes to disk", disk),
        ("maxclients", clients),
        ("rejected connections", rejected),
        ("databases", databases),
    ];
    let found = |what: &str, check: &dyn Fn(&Info) -> Option<Verdicts<'static>>| match &facts.info {
        None => unknown(facts, what, "+info"),
        Some(info) => match check(info) {
            Some(found) => finding(facts, what, found),
            None => unknown(facts, what, "+info"),
        },
    };
    let mut findings: Vec<Finding> =
        CHECKS.iter().map(|(what, check)| found(what, &|info| check(info, facts))).collect();
    findings.push(found("replicas", &|info| replicas(info, facts, expects_replicas)));
    findings
}

fn version(info: &Info, _: &NodeFacts) -> Option<Verdicts<'static>> {
    if let Some(valkey) = info.text("valkey_version") {
        return Some((Good, format!("Valkey {valkey}"), ""));
    }
    let redis = info.text("redis_version")?;
    let mut numbers = redis.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let (verdict, advice) = match (numbers.next()?, numbers.next().unwrap_or(0)) {
        (6.., 2..) | (7.., _) => (Good, ""),
        (6, _) => (Risky, "The library is tested from Redis 6.2 on, and a planned failover needs it."),
        _ => (Wrong, "The library needs Redis 6.0 or later."),
    };
    Some((verdict, format!("Redis {redis}"), advice))
}

fn role(info: &Info, _: &NodeFacts) -> Option<Verdicts<'static>> {
    let role = info.text("role")?;
    let verdict = if role == "master" { Good } else { Wrong };
    Some((verdict, role.to_owned(), REPLICA))
}

fn eviction(info: &Info, _: &NodeFacts) -> Option<Verdicts<'static>> {
    let policy = info.text("maxmemory_policy")?;
    let verdict = if policy == "noeviction" { Good } else { Wrong };
    Some((verdict, policy.to_owned(), "When the memory is full, Redis logs people out. Set noeviction."))
}

fn memory(info: &Info, _: &NodeFacts) -> Option<Verdicts<'static>> {
    let (used, most) = (info.number("used_memory")?, info.number("maxmemory")?);
    if most == 0.0 {
        let found = format!("no limit, {used} bytes are used");
        let advice = "Without a limit, the system may kill Redis. Set maxmemory below the memory of the machine.";
        return Some((Risky, found, advice));
    }
    let (verdict, advice) = match used / most {
        ..0.8 => (Good, ""),
        ..0.95 => (Risky, "The memory is nearly full. When it is full, logins and saves fail."),
        _ => (Wrong, FULL),
    };
    Some((verdict, format!("{used} of {most} bytes are used"), advice))
}

fn evicted(info: &Info, _: &NodeFacts) -> Option<Verdicts<'static>> {
    let evicted = info.number("evicted_keys")?;
    let verdict = if evicted == 0.0 { Good } else { Wrong };
    let advice = "Redis has removed keys because its memory was full, and has logged people out. Set noeviction.";
    Some((verdict, evicted.to_string(), advice))
}

fn persistence(info: &Info, facts: &NodeFacts) -> Option<Verdicts<'static>> {
    if info.text("aof_enabled")? == "1" {
        return Some((Good, "appendonly yes".to_owned(), ""));
    }
    Some(match facts.setting("save") {
        Some("") => (Wrong, "none".to_owned(), "A restart of Redis ends all sessions. Set appendonly yes."),
        Some(save) => (
            Risky,
            format!("snapshots (save {save})"),
            "A restart forgets everything since the last snapshot, logouts included. Set appendonly yes.",
        ),
        None => (
            Risky,
            "appendonly no".to_owned(),
            "A restart forgets sessions and logouts. Set appendonly yes. The snapshots are told with +config|get.",
        ),
    })
}

fn disk(info: &Info, _: &NodeFacts) -> Option<Verdicts<'static>> {
    let [snapshot, log] = ["rdb_last_bgsave_status", "aof_last_write_status"].map(|name| info.text(name));
    let (snapshot, log) = (snapshot?, log.unwrap_or("ok"));
    let verdict = if snapshot == "ok" && log == "ok" { Good } else { Wrong };
    Some((verdict, format!("snapshot {snapshot}, append-only file {log}"), DISK))
}

fn clients(info: &Info, facts: &NodeFacts) -> Option<Verdicts<'static>> {
    let clients = info.number("connected_clients")?;
    let most = info.number("maxclients").or(facts.number("maxclients").map(|most| most as f64))?;
    let verdict = if clients < 0.8 * most { Good } else { Risky };
    let advice = "Beyond the limit, connections are refused. Set maxclients above workers x pool_size.";
    Some((verdict, format!("{clients} of {most} connections are open"), advice))
}

fn rejected(info: &Info, _: &NodeFacts) -> Option<Verdicts<'static>> {
    let rejected = info.number("rejected_connections")?;
    let verdict = if rejected == 0.0 { Good } else { Risky };
    let advice = "There were more connections than maxclients. Set maxclients above workers x pool_size.";
    Some((verdict, rejected.to_string(), advice))
}

fn databases(info: &Info, _: &NodeFacts) -> Option<Verdicts<'static>> {
    let used = info.numbered("db").len();
    let verdict = if used <= 1 { Good } else { Risky };
    let advice = "Other data shares this server. Keep sessions apart from caches, which need an eviction policy.";
    Some((verdict, format!("{used} in use"), advice))
}

fn replicas(info: &Info, facts: &NodeFacts, expects_replicas: bool) -> Option<Verdicts<'static>> {
    let replicas = info.number("connected_slaves")?;
    if let Some(least) = facts.number("min-replicas-to-write").filter(|least| *least as f64 > replicas) {
        return Some((Wrong, format!("{replicas}, min-replicas-to-write {least}"), TOO_FEW_REPLICAS));
    }
    if replicas == 0.0 {
        let verdict = if expects_replicas { Risky } else { Good };
        return Some((verdict, "none".to_owned(), "If this node fails, no other one has its sessions."));
    }
    Some(match facts.number("min-replicas-to-write") {
        Some(0) => (
            Risky,
            format!("{replicas}, min-replicas-to-write 0"),
            "A primary that the network cuts off goes on, and loses what it writes. Set min-replicas-to-write 1.",
        ),
        Some(least) => (Good, format!("{replicas}, min-replicas-to-write {least}"), ""),
        None => {
            (Unknown, replicas.to_string(), "This user may not ask for min-replicas-to-write: it needs +config|get.")
        }
    })
}

/// Compares the settings that `INFO` does not tell.
fn of_settings(facts: &NodeFacts) -> Vec<Finding> {
    let small_hash = ["hash-max-listpack-value", "hash-max-ziplist-value"];
    let hash = small_hash.into_iter().find(|name| facts.setting(name).is_some()).unwrap_or(small_hash[0]);
    type Check = (&'static str, fn(&str) -> bool, &'static str);
    let checks: [Check; 4] = [
        (
            "timeout",
            |value| value.parse::<u64>().is_ok_and(|seconds| seconds == 0 || seconds >= IDLE),
            "The library keeps idle connections for up to a minute. Set timeout to 0, or to 60 and more.",
        ),
        (
            "tcp-keepalive",
            |value| value != "0",
            "Redis keeps connections of machines that are gone. Set tcp-keepalive 300.",
        ),
        (
            "lazyfree-lazy-expire",
            |value| value == "yes",
            "When a large group expires, other clients have to wait. Set lazyfree-lazy-expire yes.",
        ),
        (
            hash,
            |value| value.parse::<u64>().is_ok_and(|bytes| bytes >= 1024),
            "A value of more bytes than this makes a session up to 3 times as large. Set it to 1024.",
        ),
    ];
    let mut findings: Vec<Finding> = checks
        .into_iter()
        .map(|(what, is_good, advice)| match facts.setting(what) {
            Some(value) => finding(facts, what, (if is_good(value) { Good } else { Risky }, value.to_owned(), advice)),
            None => unknown(facts, what, "+config|get"),
        })
        .collect();
    findings.push(access(facts));
    findings
}

/// Returns whether anyone who reaches the node may use it.
fn access(facts: &NodeFacts) -> Finding {
    let what = "access";
    let Some(users) = &facts.open_users else { return unknown(facts, what, "+acl|getuser") };
    let advice = "Everyone who reaches the port can log in as anybody. Set a password (requirepass, or ACL SETUSER).";
    let open = format!("no password for the user {}", users.join(", "));
    let has_open_default = users.iter().any(|user| user == "default");
    finding(
        facts,
        what,
        match (facts.setting("port"), facts.setting("protected-mode")) {
            _ if users.is_empty() && facts.sees_all_users => (Good, "every user needs a password".to_owned(), ""),
            _ if users.is_empty() => (Good, "the default user needs a password".to_owned(), ""),
            (Some("0"), _) => (Good, format!("{open}, and there is no port"), ""),
            // Redis looks at protected-mode only if the default user has no password.
            (_, Some("yes")) if has_open_default => {
                (Risky, format!("{open}, and only this machine may connect (protected-mode)"), advice)
            }
            _ => (Wrong, open, advice),
        },
    )
}

/// Makes a finding. It has the advice only if something is wrong.
fn finding(facts: &NodeFacts, what: &str, (verdict, found, advice): Verdicts<'_>) -> Finding {
    let advice = if verdict == Good { "" } else { advice };
    Finding { verdict, what: format!("{}{what}", facts.prefix), found, advice: advice.to_owned() }
}

fn unknown(facts: &NodeFacts, what: &str, right: &str) -> Finding {
    let advice = format!("The server does not tell this user: that needs {right}.");
    Finding { verdict: Unknown, what: format!("{}{what}", facts.prefix), found: String::new(), advice }
}
