//! This guide says how to run sessions in production: what to set, what to watch, and what to do when something
//! happens.
//!
//! This module holds no code. Each section says first what to do, and then why.
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
//!   differ. Groups do not depend on the secret. So two applications with one namespace on one store share their users'
//!   groups: each application can list and end the sessions of the other's users.
//! - **Take the secret from the configuration**: 32 random bytes, the same in every worker, for instance from
//!   `openssl rand -hex 32`. Change it [without logging anyone out](crate::SessionManagerBuilder::accept_secret).
//! - **Set [`pool_size`](crate::SessionManagerBuilder::pool_size) to the number of threads** of one process. Redis sees
//!   up to workers × `pool_size` connections; in a cluster, each node does.
//! - **Set an [absolute timeout](crate::SessionManagerBuilder::absolute_timeout)** (OWASP ASVS 7.3.2). If you make a
//!   timeout shorter later, it holds for existing sessions too.
//! - **Set [`max_sessions_per_group`](crate::SessionManagerBuilder::max_sessions_per_group) on every site where anyone
//!   can register.** Otherwise one user can log in a million times and fill the store.
//!
//! # Redis
//! | setting | value | why |
//! |---|---|---|
//! | `maxmemory-policy` | `noeviction` | every other policy logs people out when the memory is full |
//! | `appendonly` | `yes` | without it, a restart forgets everything since the last snapshot, logouts included |
//! | `hash-max-listpack-value`* | `1024` | otherwise a value of over 64 bytes makes a session up to 3 times as large |
//! | `timeout` | `0`, or 60 and more | the library keeps idle connections for up to a minute |
//! | `lazyfree-lazy-expire` | `yes` | when a group of a million sessions expires, other clients do not have to wait |
//! | `maxclients` | above workers × `pool_size` | beyond it, new connections are refused |
//! | `min-replicas-to-write` | `1`, with replicas | a cut-off primary then loses no more than its last seconds |
//!
//! \* `hash-max-ziplist-value` before Redis 7.0.
//!
//! Use Redis 6.0 or later. Keep sessions on a server of their own, or at least apart from caches, because caches need
//! an eviction policy. Give the library a user with the rights that the README names under "Running it", and no others.
//!
//! In Redis, a session lives only as long as the key `<namespace>:generation` exists. That key is small and never
//! expires. If the key is evicted or removed, every session of the namespace ends. In a cluster, each slot has such a
//! key for its own sessions. Without a cluster, an operator can end all sessions of the default namespace without the
//! application:
//!
//! ```text
//! redis-cli DEL mps:generation
//! ```
//!
//! ## A planned failover
//! **Stop the writes before the failover**, so that no acknowledged save or logout is lost (Redis 6.2 or later):
//!
//! ```text
//! redis-cli -p 6379 CLIENT PAUSE 4000 WRITE     # at the primary
//! sleep 0.2                                     # the last writes reach the replicas
//! redis-cli -p 26379 SENTINEL FAILOVER name     # at a Sentinel
//! ```
//!
//! `SENTINEL FAILOVER` alone promotes a replica that may lack the last writes. With two replicas, `?wait_replicas=1`
//! does not prevent that: the write may be on the replica that is not promoted. If `wait_replicas` is the number of all
//! replicas, each acknowledged write is on all of them. But then saves fail while a single replica is down.
//!
//! # SQLite
//! - **Give the sessions a folder of their own, and mount the folder, not the file.** Three companions lie beside the
//!   file, and the server has to be able to create them. If containers mount the main file alone, each container has
//!   companions of its own, and this ruins the main file.
//! - **Keep the folder on a local disk**: SQLite's locks do not work over network file systems.
//! - **Give nobody else the right to write the file.** Anyone who can write the file can log in as any user. If other
//!   users of the machine have that right, a log line warns of it.
//!
//! The file does not shrink. New sessions take the place of those that have ended.
//!
//! ## The companions
//! | name ends in | what it holds |
//! |---|---|
//! | `-wal` | SQLite's write-ahead log: the newest saves, which the main file does not have yet |
//! | `-shm` | memory that all workers share |
//! | `-reserve` | room for logouts on a full disk; if it is deleted, workers make it again |
//!
//! SQLite removes `-wal` and `-shm` when the last worker closes the file.
//!
//! **Never delete the `-wal` or the `-shm` file.** If one of them is deleted, nothing that was saved is lost. Each
//! worker notices it after a second, at its next call. Until all workers have noticed it, calls wait. If the deadline
//! of a call comes first, the call fails with [`Unavailable`](crate::StoreErrorKind::Unavailable). A worker that makes
//! no calls does not notice it. So restart the workers that are idle.
//!
//! If the main file is deleted or replaced, workers notice in the same way, and go on with the file that is there then.
//! The saves of that second may be lost.
//!
//! ## Backups
//! - **Back up with SQLite's own tools.** A copy made with `cp` lacks the writes in the `-wal` file, or is damaged:
//!
//!   ```text
//!   sqlite3 /var/lib/app/sessions.db "VACUUM INTO '/backup/sessions.db'"
//!   ```
//!
//!   The command `.backup /backup/sessions.db` of the same program works as well. Workers can run meanwhile.
//! - **Restore while no worker runs.** Move the file and its companions (`-wal`, `-shm` and `-reserve`) away, then move
//!   the backup to the place of the file. Do not copy the backup over the file, because the workers cannot notice that.
//!   If the `-wal` file of another database lies beside the backup, the store does not change the backup, and answers
//!   [`Unavailable`](crate::StoreErrorKind::Unavailable), or [`Backend`](crate::StoreErrorKind::Backend) for a damaged
//!   file.
//! - **After a restore, give the application a [new secret](crate::SessionManagerBuilder::accept_secret), and do not
//!   accept the old one.** A backup brings back the sessions that were logged out after it was made. A damaged `-wal`
//!   file does the same, because SQLite drops the last part of it.
//! - **Move the file while no worker runs.** If there still is a `-wal` file, write its contents into the main file
//!   first:
//!
//!   ```text
//!   sqlite3 /var/lib/app/sessions.db 'PRAGMA wal_checkpoint(TRUNCATE)'
//!   ```
//!
//! ## A full disk
//! **Leave 8 MB of the disk free beside the sessions.** The `-wal` file takes some of that room, and keeps 2 MiB of it
//! for logouts. The `-reserve` file keeps 1 MiB or more.
//!
//! When the disk is full, sessions can be loaded and ended: logouts still work, as do a group's
//! [`clear`](crate::Group::clear) and [`clear_except`](crate::Group::clear_except). Logins, saves and refreshes are
//! refused with [`Rejected`](crate::StoreErrorKind::Rejected) until there is room again. Sessions that expire make
//! room.
//!
//! If the disk is full and another program keeps a transaction open on the file, there is room for about 50 logouts
//! until that transaction ends.
//!
//! # Cookies and caches
//! - **"Remember me" needs [`persistent`](crate::SessionManagerBuilder::persistent) cookies**, which are the default.
//!   Without them the cookie ends when the browser is closed, whatever the idle timeout of the session is.
//! - **Send `Cache-Control: no-store` with every answer that has a `Set-Cookie` header**, and with every page that is
//!   made for one user. A shared cache that keeps such an answer gives one user's session to others (RFC 9111, section
//!   7.3).
//! - **Ports do not keep cookies apart.** Two applications on two ports of one host need different [cookie
//!   names](crate::SessionManagerBuilder::cookie_name): browsers send the cookies of one application to the other.
//! - **A change of [`secure`](crate::SessionManagerBuilder::secure),
//!   [`partitioned`](crate::SessionManagerBuilder::partitioned), or the cookie's name, path or domain logs everyone
//!   out.** A token is valid only for the cookie that it was issued for. Browsers keep the old cookie beside the new
//!   one for a while, which does no harm.
//!
//! # Strangers and heavy users
//! - **Set nothing in the session of a visitor about whom you know nothing.** A session in which nothing is set is not
//!   kept and costs nothing. A counter of visits, or a [form token](crate::Session::csrf_token) on a public page, makes
//!   a record for every robot. Such a record lives for [half an
//!   hour](crate::SessionManagerBuilder::unconfirmed_timeout) unless its cookie comes back. Limit the rate of requests
//!   in front of the application.
//! - **One session is limited** to [1 MiB](crate::SessionManagerBuilder::max_session_bytes) and
//!   [1,000 keys](crate::SessionManagerBuilder::max_session_keys) by default, so that no call keeps Redis from
//!   answering other clients for long. Keep large values elsewhere, and their key in the session.
//!
//! # Health checks and metrics
//! - **[`ping`](crate::SessionManager::ping) tells whether the store answers, and
//!   [`check_writes`](crate::SessionManager::check_writes) tells whether sessions can be saved.** Only `check_writes`
//!   notices a full memory, a full disk, a replica in the place of its primary, or missing rights.
//! - A process that pings has the store open. If that process uses SQLite and forks afterwards, it has to call
//!   [`before_fork`](crate::SessionManager::before_fork) first.
//! - **[`stats`](crate::SessionManager::stats) gives the counters of one process.** Raise an alarm when
//!   [`not_found`](crate::Stats::not_found) rises suddenly: the store has lost sessions, because of a `FLUSHALL`, an
//!   eviction or a failover. If [`refused`](crate::Stats::refused) rises after a release of the application, a worker
//!   has another secret, or a setting that tokens are bound to was changed. If
//!   [`refused_refreshes`](crate::Stats::refused_refreshes) rises, users will be logged out while they use the site.
//! - **The [`log`](https://docs.rs/log) crate gets one line when each process starts to use the store**, one when an
//!   outage or a refusal of the store begins, and one when that ends, with the number of failed calls.
//!
//! # When something happens
//! | what | what to do |
//! |---|---|
//! | a user's password was stolen | [`manager.group(name).clear()`](crate::Group::clear) |
//! | the secret was stolen | build with a new secret, and do not accept the old one: everyone is logged out |
//! | all sessions have to end | [`destroy_every_session`](crate::SessionManager::destroy_every_session) |
//! | the store was restored from a backup | give the application a new secret: the backup brings ended sessions back |
//! | one session's record is damaged | [`manager.destroy(&request)`](crate::SessionManager::destroy) still ends it |
//! | a SQLite file is damaged | stop the workers, and move the file and its companions away; workers make a new one |
