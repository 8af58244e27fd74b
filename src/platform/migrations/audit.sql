-- The audit trail. A row's hash covers salted digests of what may name a person; text and salt can be erased on
-- request, the row cannot be changed otherwise, and can be removed only once a signed checkpoint covers it.
CREATE TABLE audit_log (
    tenant_id          TEXT NOT NULL,
    sequence           INTEGER NOT NULL,
    id                 TEXT NOT NULL UNIQUE,
    timestamp          INTEGER NOT NULL,
    recorded_at        INTEGER NOT NULL,
    action             TEXT NOT NULL,
    resource_type      TEXT NOT NULL,
    request_id         TEXT,
    actor              TEXT,
    actor_salt         BLOB,
    actor_digest       TEXT NOT NULL,
    recorded_by        TEXT,
    recorded_by_salt   BLOB,
    recorded_by_digest TEXT NOT NULL,
    resource_id        TEXT,
    resource_id_salt   BLOB,
    resource_id_digest TEXT NOT NULL,
    changes            TEXT,
    changes_salt       BLOB,
    changes_digest     TEXT NOT NULL,
    previous_hash      TEXT NOT NULL,
    hash               TEXT NOT NULL,
    PRIMARY KEY (tenant_id, sequence)
) WITHOUT ROWID, STRICT;
CREATE INDEX audit_log_actor ON audit_log (tenant_id, actor, sequence);
CREATE INDEX audit_log_action ON audit_log (tenant_id, action, sequence);
CREATE INDEX audit_log_resource ON audit_log (tenant_id, resource_id, sequence);

-- Segments that retention closed: what stood at their ends, which rows were kept, and the folder key's signature.
CREATE TABLE audit_checkpoints (
    tenant_id   TEXT NOT NULL,
    first       INTEGER NOT NULL,
    last        INTEGER NOT NULL,
    first_previous_hash TEXT NOT NULL,
    last_hash   TEXT NOT NULL,
    kept        TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    key_id      TEXT NOT NULL,
    signature   TEXT NOT NULL,
    PRIMARY KEY (tenant_id, last)
) WITHOUT ROWID, STRICT;
