CREATE TABLE {t}recurring (
    name        text        PRIMARY KEY,
    cron        text        NOT NULL,
    zone        text        NOT NULL,
    missed      smallint    NOT NULL,
    paused      boolean     NOT NULL DEFAULT false,
    next_at     timestamptz,
    destination text        NOT NULL,
    topology    uuid,
    metadata    text        NOT NULL,
    body        bytea       NOT NULL,
    changed_at  timestamptz NOT NULL DEFAULT now()
);
