CREATE TABLE sessions (
  serial     INTEGER PRIMARY KEY,
  id         BLOB NOT NULL,    -- the public id: a digest of the session id
  namespace  INTEGER NOT NULL, -- its namespace's serial
  in_group   INTEGER NOT NULL, -- its group's serial; 0 if it is in no group
  group_name TEXT,
  version    INTEGER NOT NULL,
  created    INTEGER NOT NULL, -- times are milliseconds since 1970
  joined     INTEGER,          -- when it joined its group; NULL if it is in no group
  join_order INTEGER NOT NULL, -- when it joined its group, in microseconds, and larger for each session that joins;
                               -- 0 if it is in no group
  began      INTEGER NOT NULL, -- when the absolute timeout began
  refreshed  INTEGER,          -- NULL before the first load, if the session has a shorter life until then
  ends       INTEGER,          -- when the absolute timeout ends it; NULL for never
  idle       INTEGER NOT NULL, -- the idle timeout, in milliseconds
  own_idle   INTEGER NOT NULL, -- 1 if the idle timeout was chosen for this session
  persistent INTEGER,          -- whether its cookie outlives the browser; NULL if the settings decide
  expires    INTEGER NOT NULL,
  keys       INTEGER NOT NULL, -- the number of its values
  size       INTEGER NOT NULL, -- the size of its values, in bytes
  nonces     BLOB NOT NULL,    -- the nonces of the last calls that changed it, newest first
  copied     BLOB,             -- the newest nonce when it was copied from another store; NULL if it was created here
  UNIQUE (id, in_group)
) STRICT;

CREATE INDEX sessions_by_expiry ON sessions (expires);
CREATE INDEX sessions_by_group ON sessions (in_group, join_order) WHERE in_group > 0;

-- A session is alive only while the row of its namespace is here. So one DELETE of this row ends all sessions of the
-- namespace. The next row with the same name gets another serial, because AUTOINCREMENT never gives a serial twice.
CREATE TABLE namespaces (
  serial INTEGER PRIMARY KEY AUTOINCREMENT,
  name   TEXT NOT NULL UNIQUE
) STRICT;

-- In the same way, a session in a group is alive only while the row of its group is here.
CREATE TABLE groups (
  serial INTEGER PRIMARY KEY AUTOINCREMENT,
  tag    BLOB NOT NULL UNIQUE -- the digest of the group's name
) STRICT;

CREATE TABLE session_values (
  session INTEGER NOT NULL,
  key     TEXT NOT NULL,
  value   ANY NOT NULL, -- JSON text, or the bytes of a sealed value
  PRIMARY KEY (session, key)
) STRICT, WITHOUT ROWID;

-- Forwards, from ids that were replaced. Until the grace ends, the old id reaches the session. Until the row expires, a
-- logout with the old id ends the session.
CREATE TABLE forwards (
  id         BLOB NOT NULL,
  tag        BLOB NOT NULL,
  new_id     BLOB NOT NULL,
  grace_ends INTEGER NOT NULL,
  expires    INTEGER NOT NULL,
  PRIMARY KEY (id, tag)
) STRICT, WITHOUT ROWID;

CREATE INDEX forwards_by_new_id ON forwards (new_id, tag);

CREATE INDEX forwards_by_expiry ON forwards (expires);

-- Traces of sessions that have ended, for 5 minutes. The client's next request learns the reason. A late copy of the
-- call that created such a session must not create it again.
CREATE TABLE ended (
  id      BLOB NOT NULL,
  nonce   BLOB NOT NULL, -- of the call that created it
  reason  TEXT NOT NULL, -- a letter: see end_reason.rs
  expires INTEGER NOT NULL,
  PRIMARY KEY (id, nonce)
) STRICT, WITHOUT ROWID;

CREATE INDEX ended_by_expiry ON ended (expires);

-- The values of groups, and how long they are kept.
CREATE TABLE kept_groups (
  tag       BLOB PRIMARY KEY,
  namespace INTEGER NOT NULL, -- the serial of the namespace
  expires   INTEGER NOT NULL,
  nonces    BLOB NOT NULL,    -- the nonces of the last calls that changed the values, newest first
  copied    BLOB              -- the newest nonce when they were copied from another store; NULL if they were set here
) STRICT, WITHOUT ROWID;

CREATE INDEX kept_groups_by_expiry ON kept_groups (expires);

CREATE TABLE group_values (
  tag  BLOB NOT NULL,
  key  TEXT NOT NULL,
  json TEXT NOT NULL,
  PRIMARY KEY (tag, key)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER values_end_with_their_group AFTER DELETE ON kept_groups BEGIN
  DELETE FROM group_values WHERE tag = OLD.tag;
END;

-- SQLite obeys foreign keys only on connections that ask for it. A trigger always works.
CREATE TRIGGER values_end_with_their_session AFTER DELETE ON sessions BEGIN
  DELETE FROM session_values WHERE session = OLD.serial;
END;

CREATE TRIGGER groups_end_with_their_last_session AFTER DELETE ON sessions WHEN OLD.in_group > 0 BEGIN
  DELETE FROM groups
  WHERE serial = OLD.in_group AND NOT EXISTS (SELECT 1 FROM sessions WHERE in_group = OLD.in_group AND in_group > 0);
END;

CREATE TRIGGER groups_end_when_their_last_session_leaves AFTER UPDATE OF in_group ON sessions
WHEN OLD.in_group > 0 AND NEW.in_group <> OLD.in_group BEGIN
  DELETE FROM groups
  WHERE serial = OLD.in_group AND NOT EXISTS (SELECT 1 FROM sessions WHERE in_group = OLD.in_group AND in_group > 0);
END;

-- `born` is the time when the file was created, in nanoseconds since 1970. It shows whether the log beside the file was
-- written for this file: see foreign_log.rs.
CREATE TABLE file (
  born    INTEGER,
  touched INTEGER NOT NULL DEFAULT 0 -- a counter, for a commit that changes nothing else: see wal.rs
) STRICT;
