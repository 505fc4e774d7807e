CREATE TABLE {t}schema (
    version     integer     PRIMARY KEY,
    readable_by integer     NOT NULL,
    component   text        NOT NULL DEFAULT 'bus-sql',
    applied_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE {t}outbox (
    part         smallint    NOT NULL,
    id           bigint      GENERATED ALWAYS AS IDENTITY,
    created_at   timestamptz NOT NULL DEFAULT now(),
    ordering_key text,
    destination  text        NOT NULL,
    topology     uuid,
    metadata     text        NOT NULL,
    body         bytea       NOT NULL,
    attempts     smallint    NOT NULL DEFAULT 0,
    PRIMARY KEY (part, id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
-- Bodies live for milliseconds: to compress them costs more than it saves.
ALTER TABLE {t}outbox ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE TABLE {t}scheduled (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    part         smallint    NOT NULL,
    due_at       timestamptz NOT NULL,
    token        uuid,
    created_at   timestamptz NOT NULL DEFAULT now(),
    ordering_key text,
    destination  text        NOT NULL,
    topology     uuid,
    metadata     text        NOT NULL,
    body         bytea       NOT NULL
);
CREATE INDEX {i}scheduled_due ON {t}scheduled (part, due_at, id);
CREATE INDEX {i}scheduled_token ON {t}scheduled (token) WHERE token IS NOT NULL;

CREATE TABLE {t}parked (
    part         smallint    NOT NULL,
    id           bigint      PRIMARY KEY,
    created_at   timestamptz NOT NULL,
    ordering_key text,
    destination  text        NOT NULL,
    topology     uuid,
    metadata     text        NOT NULL,
    body         bytea       NOT NULL,
    attempts     smallint    NOT NULL,
    parked_at    timestamptz NOT NULL DEFAULT now(),
    reason       text        NOT NULL
);

CREATE TABLE {t}topology (
    id      uuid PRIMARY KEY,
    content text NOT NULL
);

-- One row for each partition of the outbox, from 0.
CREATE TABLE {t}relay (
    part        smallint    PRIMARY KEY,
    owner       uuid,
    epoch       bigint      NOT NULL DEFAULT 0,
    lease_until timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO {t}relay (part) VALUES (0);

CREATE TABLE {t}inbox (
    endpoint    text        NOT NULL,
    key         text        NOT NULL,
    fingerprint uuid        NOT NULL,
    handled_at  timestamptz NOT NULL DEFAULT now(),
    replies     bytea,
    PRIMARY KEY (endpoint, key)
);
CREATE INDEX {i}inbox_age ON {t}inbox (handled_at);

CREATE TABLE {t}idempotency (
    key         text        PRIMARY KEY,
    fingerprint uuid        NOT NULL,
    claim       uuid        NOT NULL,
    until       timestamptz NOT NULL,
    done        boolean     NOT NULL DEFAULT false,
    replies     bytea
);
CREATE INDEX {i}idempotency_until ON {t}idempotency (until);
