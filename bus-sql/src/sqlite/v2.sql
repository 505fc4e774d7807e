CREATE TABLE {t}recurring (
    name        TEXT    PRIMARY KEY,
    cron        TEXT    NOT NULL,
    zone        TEXT    NOT NULL,
    missed      INTEGER NOT NULL,
    paused      INTEGER NOT NULL DEFAULT 0,
    next_at     INTEGER,
    destination TEXT    NOT NULL,
    topology    BLOB,
    metadata    TEXT    NOT NULL,
    body        BLOB    NOT NULL,
    changed_at  INTEGER NOT NULL
) STRICT;
