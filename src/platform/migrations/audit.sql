-- The audit trail. A row's hash covers salted digests of what may name a person; text and salt can be erased on
-- request, the row cannot be changed otherwise, and can be removed only once a signed checkpoint covers it.
CREATE TABLE audit_log (
    tenant_id          TEXT NOT NULL,
    sequence           INTEGER NOT NULL,
    id                 TEXT NOT NULL UNIQUE,
    timestamp          INTEGER NOT NULL,
    recorded_at        INTEGER NOT NULL,
    action             TEXT NOT NULL,
    critical           INTEGER NOT NULL,    -- kept for seven years rather than two; follows from the action
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
    erased_by          TEXT,                -- the deletion request, or `retention`
    previous_hash      TEXT NOT NULL,
    hash               TEXT NOT NULL,
    PRIMARY KEY (tenant_id, sequence)
) STRICT;
CREATE INDEX audit_log_actor ON audit_log (tenant_id, actor, sequence);
CREATE INDEX audit_log_action ON audit_log (tenant_id, action, sequence);
CREATE INDEX audit_log_resource ON audit_log (tenant_id, resource_id, sequence);
CREATE INDEX audit_log_details ON audit_log (recorded_at) WHERE changes_salt IS NOT NULL AND critical = 0;

-- Segments that retention closed: what stood at their ends, which rows were kept, and the folder key's signature.
CREATE TABLE audit_checkpoints (
    tenant_id           TEXT NOT NULL,
    first               INTEGER NOT NULL,
    last                INTEGER NOT NULL,
    first_previous_hash TEXT NOT NULL,
    last_hash           TEXT NOT NULL,
    kept                TEXT NOT NULL,      -- [[sequence, hash, until], ...]
    created_at          INTEGER NOT NULL,
    signature           TEXT NOT NULL,
    PRIMARY KEY (tenant_id, last)
) WITHOUT ROWID, STRICT;

-- Requests to delete personal data.
CREATE TABLE audit_deletions (
    id           TEXT NOT NULL PRIMARY KEY,
    tenant_id    TEXT NOT NULL,
    subject      TEXT,                      -- gone once it is done
    reason       TEXT,
    requested_by TEXT,
    requested_at INTEGER NOT NULL,
    due_at       INTEGER NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('pending', 'held', 'erasing', 'done'))
) STRICT;
CREATE INDEX audit_deletions_due ON audit_deletions (status, due_at);
CREATE INDEX audit_deletions_subject ON audit_deletions (tenant_id, subject);

-- Persons whose records must not be deleted.
CREATE TABLE audit_holds (
    id          TEXT NOT NULL PRIMARY KEY,
    tenant_id   TEXT NOT NULL,
    subject     TEXT NOT NULL,
    reason      TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    released_at INTEGER
) STRICT;
CREATE INDEX audit_holds_subject ON audit_holds (tenant_id, subject);

CREATE TRIGGER audit_log_is_never_changed BEFORE UPDATE ON audit_log
WHEN NOT (
    NEW.tenant_id = OLD.tenant_id AND NEW.sequence = OLD.sequence AND NEW.id = OLD.id
    AND NEW.timestamp = OLD.timestamp AND NEW.recorded_at = OLD.recorded_at
    AND NEW.action = OLD.action AND NEW.critical = OLD.critical AND NEW.resource_type = OLD.resource_type
    AND NEW.request_id IS OLD.request_id
    AND NEW.actor_digest = OLD.actor_digest AND NEW.recorded_by_digest = OLD.recorded_by_digest
    AND NEW.resource_id_digest = OLD.resource_id_digest AND NEW.changes_digest = OLD.changes_digest
    AND NEW.previous_hash = OLD.previous_hash AND NEW.hash = OLD.hash
    AND (NEW.changes IS OLD.changes AND NEW.changes_salt IS OLD.changes_salt OR NEW.changes IS NULL AND NEW.changes_salt IS NULL)
    AND (
        -- Details of a row that is no longer kept in full.
        NEW.actor IS OLD.actor AND NEW.actor_salt IS OLD.actor_salt
        AND NEW.recorded_by IS OLD.recorded_by AND NEW.recorded_by_salt IS OLD.recorded_by_salt
        AND NEW.resource_id IS OLD.resource_id AND NEW.resource_id_salt IS OLD.resource_id_salt
        AND NEW.critical = 0 AND NEW.erased_by = coalesce(OLD.erased_by, 'retention')
        OR
        -- What names a person, in the course of a deletion request.
        (NEW.actor IS OLD.actor AND NEW.actor_salt IS OLD.actor_salt OR NEW.actor IS NULL AND NEW.actor_salt IS NULL)
        AND (NEW.recorded_by IS OLD.recorded_by AND NEW.recorded_by_salt IS OLD.recorded_by_salt
             OR NEW.recorded_by IS NULL AND NEW.recorded_by_salt IS NULL)
        AND (NEW.resource_id IS OLD.resource_id AND NEW.resource_id_salt IS OLD.resource_id_salt
             OR NEW.resource_id IS NULL AND NEW.resource_id_salt IS NULL)
        AND EXISTS (
            SELECT 1 FROM audit_deletions
            WHERE id = NEW.erased_by AND tenant_id = NEW.tenant_id AND status = 'erasing'
        )
    )
)
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;

CREATE TRIGGER audit_log_is_never_removed BEFORE DELETE ON audit_log
WHEN NOT EXISTS (
    SELECT 1 FROM audit_checkpoints WHERE tenant_id = OLD.tenant_id AND OLD.sequence BETWEEN first AND last
)
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;

CREATE TRIGGER audit_checkpoints_are_never_changed BEFORE UPDATE ON audit_checkpoints
BEGIN SELECT RAISE(ABORT, 'checkpoints of the audit trail are append-only'); END;
CREATE TRIGGER audit_checkpoints_are_never_removed BEFORE DELETE ON audit_checkpoints
BEGIN SELECT RAISE(ABORT, 'checkpoints of the audit trail are append-only'); END;
