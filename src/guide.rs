//! Running sessions in production: what to set, what to watch, and what to do when something happens.
//!
//! This module holds no code. Each section begins with what to do, and says why afterwards.
//!
//! - [Before the first user](#before-the-first-user)
//! - [Redis](#redis)
//! - [SQLite](#sqlite)
//! - [Cookies and caches](#cookies-and-caches)
//! - [Strangers and heavy users](#strangers-and-heavy-users)
//! - [Health checks and metrics](#health-checks-and-metrics)
//! - [When something happens](#when-something-happens)
//!
//! # Before the first user
//! - **Give each application a [namespace](crate::SessionManagerBuilder::namespace) of its own**, even if their secrets
//!   differ. Groups do not depend on the secret, so two applications with one namespace on one store share their users'
//!   groups: one lists, and ends, the sessions of the other.
//! - **Take the secret from the configuration**: 32 random bytes, the same in every worker, for instance from
//!   `openssl rand -hex 32`. Change it [without logging anyone out](crate::SessionManagerBuilder::accept_secret).
//! - **Set [`pool_size`](crate::SessionManagerBuilder::pool_size) to the number of threads** of one process. Redis sees up
//!   to workers × `pool_size` connections.
//! - **Set an [absolute timeout](crate::SessionManagerBuilder::absolute_timeout)** (OWASP ASVS 7.3.2). Timeouts that you make
//!   shorter later hold for the sessions that exist, too.
//! - **Set [`max_sessions_per_group`](crate::SessionManagerBuilder::max_sessions_per_group) on any site where anyone can
//!   register.** Otherwise one user can log in a million times, and fill the store.
//!
//! # Redis
//! | setting | value | why |
//! |---|---|---|
//! | `maxmemory-policy` | `noeviction` | every other policy logs people out when the memory is full |
//! | `appendonly` | `yes` | without it, a restart forgets everything since the last snapshot, logouts included |
//! | `hash-max-listpack-value` (`hash-max-ziplist-value` before 7.0) | `1024` | with the default of 64, a single value of over 64 bytes makes a session take up to three times the memory |
//! | `timeout` | `0`, or 60 and more | idle connections are kept for up to a minute; with a shorter timeout they are opened again and again |
//! | `lazyfree-lazy-expire` | `yes` | a group of a million sessions expires without keeping others waiting |
//! | `maxclients` | above workers × `pool_size` | beyond it, new connections are refused |
//! | `min-replicas-to-write` | `1`, if there are replicas | a primary that is cut off then takes nothing that is lost later, but for its last seconds |
//!
//! Use Redis 6.0 or later. Keep sessions on a server of their own, or at least apart from caches, which want an eviction
//! policy. Give the library a [user with the rights that it needs](https://docs.rs/multi-process-session#running-it) and
//! no others.
//!
//! A session of Redis lives only as long as `<namespace>:generation` is there, a small key that never expires. In a cluster,
//! each slot has such a key. If it is evicted or removed, every session of the namespace has ended. So an operator ends all
//! sessions of the default namespace without the application:
//!
//! ```text
//! redis-cli DEL mps:generation
//! ```
//!
//! ## A planned failover
//! **Stop the writes before the failover**, so that no acknowledged save or logout is taken back:
//!
//! ```text
//! redis-cli -p 6379 CLIENT PAUSE 4000 WRITE     # at the primary
//! sleep 0.2                                     # what was written reaches the replicas
//! redis-cli -p 26379 SENTINEL FAILOVER name     # at a Sentinel
//! ```
//!
//! `SENTINEL FAILOVER` alone promotes a replica that may lack the last writes. `?wait_replicas=1` does not prevent that
//! where there are two replicas: the other one may be the one that had the write. With `wait_replicas` equal to the number
//! of replicas, each acknowledged write is on all of them, but saves then fail while a single replica is down.
//!
//! # SQLite
//! - **Give the sessions a folder of their own, and mount the folder, not the file.** SQLite keeps the newest writes in a
//!   second file, ending in `-wal`, and all workers share memory by a third one, ending in `-shm`. If containers mount the
//!   file alone, each of them has companions of its own, and they ruin the file.
//! - **Keep the folder on a local disk**: SQLite's locks do not work over network file systems.
//! - **Never delete the `-wal` or the `-shm` file.** The `-wal` holds acknowledged saves. Workers notice within a second
//!   that it is gone, and save what they can.
//! - **Back up with SQLite's own tools.** A copy made by `cp` lacks what is in the `-wal`, or is torn:
//!
//!   ```text
//!   sqlite3 /var/lib/app/sessions.db "VACUUM INTO '/backup/sessions.db'"
//!   ```
//!
//!   `.backup /backup/sessions.db` in the same program does it as well.
//! - **Restore while no worker runs**: move the file and its companions (`-wal`, `-shm` and `-reserve`) away, then move the
//!   backup to the place of the file. Do not copy it over the file. Give the application a
//!   [new secret](crate::SessionManagerBuilder::accept_secret), and do not accept the old one: a backup brings back the
//!   sessions that were logged out since it was made.
//! - **Leave 8 MB of the disk free beside the sessions.** The log takes some of it, and a third companion, ending in
//!   `-reserve`, keeps 1 MB or more for logouts. When the disk is full, logouts still work; logins, saves and refreshes are
//!   refused with [`Rejected`](crate::StoreErrorKind::Rejected) until there is room again.
//!
//! # Cookies and caches
//! - **"Remember me" needs [`persistent`](crate::SessionManagerBuilder::persistent) cookies**, which are the default.
//!   Without them the cookie ends with the browser, whatever the idle timeout of the session is.
//! - **Send `Cache-Control: no-store` with every answer that has a `Set-Cookie` header**, and with every page that is made
//!   for one user. A shared cache that keeps such an answer hands one user's session to others (RFC 9111, section 7.3).
//! - **Ports do not keep cookies apart.** Two applications on one host, on two ports, need different
//!   [cookie names](crate::SessionManagerBuilder::cookie_name): browsers send the cookies of one to the other.
//! - **Switching [`secure`](crate::SessionManagerBuilder::secure) or
//!   [`partitioned`](crate::SessionManagerBuilder::partitioned), the cookie's name, path or domain logs everyone out.** A
//!   token is only good for the cookie that it was issued for. Browsers keep the old cookie beside the new one for a while;
//!   that does no harm.
//!
//! # Strangers and heavy users
//! - **Set nothing in the session of a visitor whom you know nothing of.** A session in which nothing was set is not kept
//!   and costs nothing; a counter of visits makes a record for every robot. Such a record lives for
//!   [half an hour](crate::SessionManagerBuilder::unconfirmed_timeout) unless its cookie comes back. Limit the rate of
//!   requests in front of the application.
//! - **One session is limited** to [1 MiB](crate::SessionManagerBuilder::max_session_bytes) and
//!   [1,000 keys](crate::SessionManagerBuilder::max_session_keys) by default, so that no call keeps Redis from answering
//!   others for long. Keep what is large elsewhere, under a key that the session knows.
//!
//! # Health checks and metrics
//! - **[`ping`](crate::SessionManager::ping) tells whether the store answers,
//!   [`check_writes`](crate::SessionManager::check_writes) whether sessions can be saved.** A full memory, a full disk, a
//!   replica in the place of its primary, and missing rights are seen by the second one only.
//! - A process that pings has the store open. If it forks afterwards and uses SQLite, it forks under
//!   [`before_fork`](crate::SessionManager::before_fork).
//! - **[`stats`](crate::SessionManager::stats) has the counters of one process.** Raise an alarm when
//!   [`not_found`](crate::Stats::not_found) rises: the store has lost sessions, by a `FLUSHALL`, an eviction or a failover.
//!   If [`refused`](crate::Stats::refused) rises after a deployment, a worker has another secret, or a setting was changed
//!   that tokens are bound to. If [`refused_refreshes`](crate::Stats::refused_refreshes) rises, users are going to be logged
//!   out while they click.
//! - **The [`log`](https://docs.rs/log) crate gets one line when each process starts to use the store**, one when an outage
//!   or a refusal of the store begins, and one when it ends, with the number of calls that it met.
//!
//! # When something happens
//! | what | what to do |
//! |---|---|
//! | a user's password was stolen | [`manager.group(name).clear()`](crate::Group::clear) |
//! | the secret was stolen | build with a new one, and do not accept the old one: everyone is logged out |
//! | all sessions have to end | [`destroy_every_session`](crate::SessionManager::destroy_every_session), or a new secret |
//! | the store was restored from a backup | give the application a new secret: the backup brings ended sessions back |
//! | one session cannot be loaded, since its record is damaged | [`manager.destroy(cookie)`](crate::SessionManager::destroy) still ends it |
//! | a SQLite file is damaged | stop the workers, and move the file and its companions away; workers make a new one |
