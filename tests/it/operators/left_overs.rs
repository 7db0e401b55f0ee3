//! A purge removes what is left of ended sessions.

use crate::support::operator::{call, scan, store};
use crate::support::redis::Redis;
use crate::support::sqlite::Sqlite;
use crate::support::{is_alive, login, manager, public_id, session_with};

#[test]
fn a_purge_of_sqlite_removes_expired_rows_and_those_of_ended_groups_and_namespaces() {
    let sqlite = Sqlite::new();
    let manager = manager(&sqlite.url());
    let alive = [login(&manager, "grace"), session_with(&manager, &[("a", "1")])];
    let ended = [(); 3].map(|()| login(&manager, "ada"));
    let id = public_id(&manager, &ended[0]);
    let sql = sqlite.connect();
    sql.execute("UPDATE sessions SET expires = 1 WHERE id = ?1", [&id.as_bytes()[..]]).unwrap();
    sql.execute_batch(
        "DELETE FROM groups WHERE serial = (SELECT in_group FROM sessions WHERE expires = 1);
         INSERT INTO forwards VALUES (x'00', x'', x'01', 1, 1);
         INSERT INTO ended VALUES (x'00', x'00', 'o', 1);",
    )
    .unwrap();
    // A namespace that has ended, whose records are still to be removed.
    sql.execute_batch(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 3000)
         INSERT INTO sessions SELECT NULL, randomblob(18), 99, 0, NULL, version, created, NULL, 0, began, refreshed,
                                     ends, idle, own_idle, persistent, expires, 0, 0, nonces, copied
                              FROM numbers, (SELECT * FROM sessions WHERE expires > 1 LIMIT 1)",
    )
    .unwrap();
    assert_eq!(sqlite.count("sessions"), 3005);
    let store = store(&sqlite.url());
    assert_eq!(scan(&*store).len(), 2, "a scan gives live sessions only");
    let purged = store.purge("mps", &call()).unwrap();
    assert_eq!((purged.removed, purged.more), (3003, false));
    assert_eq!(["sessions", "forwards", "namespaces", "groups"].map(|table| sqlite.count(table)), [2, 0, 1, 1]);
    sqlite.assert_sound();
    assert!(alive.iter().all(|cookie| is_alive(&manager, cookie)));
}

#[test]
fn a_purge_of_redis_removes_the_records_of_an_earlier_generation_and_of_ended_groups() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let old = [(); 3].map(|()| session_with(&manager, &[("a", "1")]));
    redis.run::<()>(&["DEL", "mps:generation"]);
    let alive = [session_with(&manager, &[("a", "1")]), login(&manager, "grace")];
    let members = [(); 2].map(|()| login(&manager, "ada"));
    let of_ada = multi_process_session::store::GroupKey::named("mps", "ada").tag;
    redis.run::<()>(&["DEL", &format!("mps:{{{of_ada}}}"), &format!("mps:{{{of_ada}}}:joined")]);
    redis.run::<()>(&["SET", "mps:other", "a key of somebody else"]);
    assert_eq!(redis.records().len(), 8);
    let store = store(&redis.url());
    assert_eq!(scan(&*store).len(), 2, "a scan gives live sessions only");
    let purged = store.purge("mps", &call()).unwrap();
    assert_eq!((purged.removed, purged.more), (5, false));
    assert_eq!(store.purge("mps", &call()).unwrap().removed, 0);
    assert!(alive.iter().all(|cookie| is_alive(&manager, cookie)));
    assert!(old.iter().chain(&members).all(|cookie| !is_alive(&manager, cookie)));
    assert!(redis.all_keys().contains(&"mps:other".to_owned()));
}
