-- Times are microseconds since 1970, ids of 16 bytes are blobs. STRICT: what is edited by hand keeps its type.
CREATE TABLE {t}schema (
    version     INTEGER PRIMARY KEY,
    readable_by INTEGER NOT NULL,
    component   TEXT    NOT NULL DEFAULT 'bus-sql',
    applied_at  INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000)
) STRICT;

-- AUTOINCREMENT: an id that was deleted is never given again.
CREATE TABLE {t}outbox (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    created_at   INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000),
    ordering_key TEXT,
    destination  TEXT    NOT NULL,
    topology     BLOB,
    metadata     TEXT    NOT NULL,
    body         BLOB    NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE {t}scheduled (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    due_at       INTEGER NOT NULL,
    token        BLOB,
    created_at   INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000),
    ordering_key TEXT,
    destination  TEXT    NOT NULL,
    topology     BLOB,
    metadata     TEXT    NOT NULL,
    body         BLOB    NOT NULL
) STRICT;
CREATE INDEX {i}scheduled_due ON {t}scheduled (due_at, id);
CREATE INDEX {i}scheduled_token ON {t}scheduled (token) WHERE token IS NOT NULL;

CREATE TABLE {t}parked (
    id           INTEGER PRIMARY KEY,
    created_at   INTEGER NOT NULL,
    ordering_key TEXT,
    destination  TEXT    NOT NULL,
    topology     BLOB,
    metadata     TEXT    NOT NULL,
    body         BLOB    NOT NULL,
    attempts     INTEGER NOT NULL,
    parked_at    INTEGER NOT NULL,
    reason       TEXT    NOT NULL
) STRICT;

CREATE TABLE {t}topology (
    id      BLOB PRIMARY KEY,
    content TEXT NOT NULL
) STRICT;

CREATE TABLE {t}relay (
    part        INTEGER PRIMARY KEY,
    owner       BLOB,
    epoch       INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO {t}relay (part) VALUES (0);

CREATE TABLE {t}inbox (
    endpoint    TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    handled_at  INTEGER NOT NULL,
    replies     BLOB,
    PRIMARY KEY (endpoint, key)
) STRICT;
CREATE INDEX {i}inbox_age ON {t}inbox (handled_at);

CREATE TABLE {t}idempotency (
    key         TEXT    PRIMARY KEY,
    fingerprint BLOB    NOT NULL,
    claim       BLOB    NOT NULL,
    until       INTEGER NOT NULL,
    done        INTEGER NOT NULL DEFAULT 0,
    replies     BLOB
) STRICT;
CREATE INDEX {i}idempotency_until ON {t}idempotency (until);
