CREATE TABLE sessions (
  serial     INTEGER PRIMARY KEY,
  id         BLOB NOT NULL,    -- the digest of the session's id
  tag        BLOB NOT NULL,    -- the digest of its group's name; empty where it is in none
  group_name TEXT,
  version    INTEGER NOT NULL,
  created    INTEGER NOT NULL, -- times are milliseconds since 1970
  joined     INTEGER,          -- its group
  refreshed  INTEGER NOT NULL,
  ends       INTEGER,          -- the absolute timeout
  idle       INTEGER NOT NULL, -- the idle timeout, in milliseconds
  expires    INTEGER NOT NULL,
  size       INTEGER NOT NULL, -- of the values, in bytes
  nonces     BLOB NOT NULL,    -- of the last calls that changed it, newest first
  UNIQUE (id, tag)
) STRICT;

CREATE INDEX sessions_by_expiry ON sessions (expires);
CREATE INDEX sessions_by_group ON sessions (tag) WHERE tag <> x'';

CREATE TABLE session_values (
  session INTEGER NOT NULL,
  key     TEXT NOT NULL,
  json    TEXT NOT NULL,
  PRIMARY KEY (session, key)
) STRICT, WITHOUT ROWID;

-- Unlike a foreign key, this needs no switch to be on.
CREATE TRIGGER values_end_with_their_session AFTER DELETE ON sessions BEGIN
  DELETE FROM session_values WHERE session = OLD.serial;
END;

-- Ids that were replaced with a grace.
CREATE TABLE forwards (
  id      BLOB NOT NULL,
  tag     BLOB NOT NULL,
  new_id  BLOB NOT NULL,
  expires INTEGER NOT NULL,
  PRIMARY KEY (id, tag)
) STRICT, WITHOUT ROWID;
