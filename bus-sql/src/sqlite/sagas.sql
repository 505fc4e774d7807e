CREATE TABLE {t}saga (
    saga       TEXT    NOT NULL,
    id         BLOB    NOT NULL,
    revision   INTEGER NOT NULL,
    state      TEXT,
    data       TEXT    NOT NULL,
    meta       TEXT    NOT NULL,
    keys       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (saga, id)
) STRICT;
CREATE INDEX {i}saga_state ON {t}saga (saga, state);
CREATE INDEX {i}saga_finished ON {t}saga (updated_at) WHERE state IS NULL;

CREATE TABLE {t}saga_key (
    saga  TEXT NOT NULL,
    name  TEXT NOT NULL,
    value TEXT NOT NULL,
    id    BLOB NOT NULL,
    PRIMARY KEY (saga, name, value)
) STRICT;
CREATE INDEX {i}saga_key_of ON {t}saga_key (saga, id);
