CREATE TABLE {t}saga (
    saga       text        NOT NULL,
    id         uuid        NOT NULL,
    revision   bigint      NOT NULL,
    state      text,
    data       text        NOT NULL,
    meta       text        NOT NULL,
    keys       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (saga, id)
) WITH (fillfactor = 80);
CREATE INDEX {i}saga_state ON {t}saga (saga, state);
CREATE INDEX {i}saga_finished ON {t}saga (updated_at) WHERE state IS NULL;

CREATE TABLE {t}saga_key (
    saga  text NOT NULL,
    name  text NOT NULL,
    value text NOT NULL,
    id    uuid NOT NULL,
    PRIMARY KEY (saga, name, value)
);
CREATE INDEX {i}saga_key_of ON {t}saga_key (saga, id);
