CREATE TABLE sessions (
  serial     INTEGER PRIMARY KEY,
  id         BLOB NOT NULL,    -- the digest of the session's id
  namespace  INTEGER NOT NULL, -- its namespace's serial
  in_group   INTEGER NOT NULL, -- its group's serial; 0 where it is in none
  group_name TEXT,
  version    INTEGER NOT NULL,
  created    INTEGER NOT NULL, -- times are milliseconds since 1970
  joined     INTEGER,          -- its group
  join_order INTEGER NOT NULL, -- grows with each session that joins the group; 0 where it is in none
  began      INTEGER NOT NULL, -- when the absolute timeout began
  refreshed  INTEGER,          -- NULL until it is loaded for the first time, if its life was shorter until then
  ends       INTEGER,          -- the absolute timeout
  idle       INTEGER NOT NULL, -- the idle timeout, in milliseconds
  own_idle   INTEGER NOT NULL, -- 1 if that was chosen for this session
  expires    INTEGER NOT NULL,
  keys       INTEGER NOT NULL, -- how many values it has
  size       INTEGER NOT NULL, -- of the values, in bytes
  nonces     BLOB NOT NULL,    -- of the last calls that changed it, newest first
  UNIQUE (id, in_group)
) STRICT;

CREATE INDEX sessions_by_expiry ON sessions (expires);
CREATE INDEX sessions_by_group ON sessions (in_group, join_order) WHERE in_group > 0;

-- A session lives only as long as its namespace is here: to end all sessions of a namespace, its row goes. The next
-- namespace of the same name has another serial: AUTOINCREMENT never gives one twice.
CREATE TABLE namespaces (
  serial INTEGER PRIMARY KEY AUTOINCREMENT,
  name   TEXT NOT NULL UNIQUE
) STRICT;

-- In the same way, a session in a group lives only as long as its group is here.
CREATE TABLE groups (
  serial INTEGER PRIMARY KEY AUTOINCREMENT,
  tag    BLOB NOT NULL UNIQUE -- the digest of the group's name
) STRICT;

CREATE TABLE session_values (
  session INTEGER NOT NULL,
  key     TEXT NOT NULL,
  json    TEXT NOT NULL,
  PRIMARY KEY (session, key)
) STRICT, WITHOUT ROWID;

-- Ids that were replaced: they reach the session until the grace ends, and they end it until they expire.
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

-- Sessions that ended within a minute after their creation: the call that created one may be sent again.
CREATE TABLE ended (
  id      BLOB NOT NULL,
  nonce   BLOB NOT NULL, -- of the call that made it
  expires INTEGER NOT NULL,
  PRIMARY KEY (id, nonce)
) STRICT, WITHOUT ROWID;

CREATE INDEX ended_by_expiry ON ended (expires);

-- A foreign key would need a setting of each connection. A trigger does not.
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

-- When the file was made, in nanoseconds since 1970. A log is used only beside the file that it was written for.
CREATE TABLE file (
  born    INTEGER,
  touched INTEGER NOT NULL DEFAULT 0 -- for a commit that changes nothing else
) STRICT;
