-- The schema of the first release, service by service. Steps that come later have files of their own.

PRAGMA application_id = 1179468866; -- FMDB, so that another program's database is told from ours

-- ---- platform ----

-- What belongs to the platform as a whole.

-- Answers of calls that carried an Idempotency-Key, kept for 24 hours. A row is written with the call's own
-- transaction; the sealed answer follows it.
CREATE TABLE idempotency (
    tenant_id   TEXT NOT NULL,
    subject     TEXT NOT NULL,
    route       TEXT NOT NULL,
    key         TEXT NOT NULL,
    body_digest TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    answer      BLOB,
    PRIMARY KEY (tenant_id, subject, route, key)
) WITHOUT ROWID, STRICT;
CREATE INDEX idempotency_age ON idempotency (created_at);

-- ---- processes ----

-- Process Design: definitions and their versions. A published version is never changed.
CREATE TABLE processes (
    tenant_id  TEXT NOT NULL,
    id         TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE process_versions (
    tenant_id    TEXT NOT NULL,
    process_id   TEXT NOT NULL,
    ordinal      INTEGER NOT NULL,
    version      TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('draft', 'published')),
    name         TEXT NOT NULL,
    definition   TEXT NOT NULL,
    metadata     TEXT NOT NULL,
    revision     INTEGER NOT NULL DEFAULT 1,
    created_at   INTEGER NOT NULL,
    created_by   TEXT NOT NULL,
    published_at INTEGER,
    PRIMARY KEY (tenant_id, process_id, ordinal),
    UNIQUE (tenant_id, process_id, version),
    FOREIGN KEY (tenant_id, process_id) REFERENCES processes (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER process_versions_published BEFORE UPDATE ON process_versions WHEN OLD.status = 'published'
BEGIN
    SELECT RAISE(ABORT, 'a published version never changes');
END;

-- ---- executions ----

-- Execution Engine: instances with their whole state, and an append-only history.
CREATE TABLE executions (
    tenant_id    TEXT NOT NULL,
    id           TEXT NOT NULL,
    process_id   TEXT NOT NULL,
    version      TEXT NOT NULL,
    status       TEXT NOT NULL,
    state        TEXT NOT NULL,
    initiator    TEXT NOT NULL,
    parent_id    TEXT,
    started_at   INTEGER NOT NULL,
    completed_at INTEGER,
    due_at       INTEGER,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX executions_due ON executions (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX executions_parent ON executions (tenant_id, parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX executions_process ON executions (tenant_id, process_id);

CREATE TABLE execution_history (
    tenant_id    TEXT NOT NULL,
    execution_id TEXT NOT NULL,
    sequence     INTEGER NOT NULL,
    kind         TEXT NOT NULL,
    node_id      TEXT,
    at           INTEGER NOT NULL,
    actor        TEXT NOT NULL,
    data         TEXT NOT NULL,
    PRIMARY KEY (tenant_id, execution_id, sequence)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER execution_history_kept BEFORE UPDATE ON execution_history
BEGIN
    SELECT RAISE(ABORT, 'the history of an execution never changes');
END;

-- ---- tasks ----

-- Human Task: tasks with their form and answer, and an append-only history.
CREATE TABLE tasks (
    tenant_id        TEXT NOT NULL,
    id               TEXT NOT NULL,
    execution_id     TEXT,
    node_id          TEXT,
    title            TEXT NOT NULL,
    description      TEXT,
    status           TEXT NOT NULL,
    assignee         TEXT,
    form             TEXT,
    requires         TEXT,
    chain            TEXT NOT NULL,
    chain_position   INTEGER NOT NULL DEFAULT 0,
    escalation_level INTEGER NOT NULL DEFAULT 0,
    sla_seconds      REAL,
    sla_deadline     INTEGER,
    alarm_at         INTEGER,
    response         TEXT,
    created_at       INTEGER NOT NULL,
    ended_at         INTEGER,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX tasks_assignee ON tasks (tenant_id, assignee, status);
CREATE INDEX tasks_execution ON tasks (tenant_id, execution_id) WHERE execution_id IS NOT NULL;
CREATE INDEX tasks_alarm ON tasks (alarm_at) WHERE alarm_at IS NOT NULL;

CREATE TABLE task_history (
    tenant_id TEXT NOT NULL,
    task_id   TEXT NOT NULL,
    sequence  INTEGER NOT NULL,
    action    TEXT NOT NULL,
    actor     TEXT NOT NULL,
    at        INTEGER NOT NULL,
    data      TEXT NOT NULL,
    PRIMARY KEY (tenant_id, task_id, sequence)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER task_history_kept BEFORE UPDATE ON task_history
BEGIN
    SELECT RAISE(ABORT, 'the history of a task never changes');
END;

-- ---- entities ----

-- The tenant's types of records.
CREATE TABLE entity_types (
    tenant_id  TEXT NOT NULL,
    name       TEXT NOT NULL,
    schema     TEXT,             -- a JSON Schema; absent: any object
    implied    INTEGER NOT NULL, -- 1 if the first record made it, and nobody defined it yet
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;

-- The records. `number` counts them as they came, and ties a record to its words in the search index.
CREATE TABLE entities (
    number     INTEGER PRIMARY KEY,
    tenant_id  TEXT NOT NULL,
    id         TEXT NOT NULL,
    type       TEXT NOT NULL,
    data       TEXT NOT NULL,    -- a JSON object
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, type) REFERENCES entity_types (tenant_id, name)
) STRICT;
CREATE INDEX entities_by_age ON entities (tenant_id, type, created_at);

-- Which record names which others, by relation and in order.
CREATE TABLE entity_links (
    tenant_id TEXT NOT NULL,
    source    TEXT NOT NULL,
    relation  TEXT NOT NULL,
    place     INTEGER NOT NULL,
    target    TEXT NOT NULL,
    PRIMARY KEY (tenant_id, source, relation, place),
    FOREIGN KEY (tenant_id, source) REFERENCES entities (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, target) REFERENCES entities (tenant_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX entity_links_by_target ON entity_links (tenant_id, target);

-- The words of the records; the records themselves stay in their table.
CREATE VIRTUAL TABLE entity_words USING fts5 (
    words, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);

-- ---- auth ----

-- Users of a tenant. `failures` counts attempts to sign in since the last success; the fifth locks the account.
CREATE TABLE users (
    id            TEXT NOT NULL PRIMARY KEY,
    tenant_id     TEXT NOT NULL,
    username      TEXT NOT NULL,            -- lower case
    password_hash TEXT NOT NULL,            -- argon2id, PHC format
    permissions   TEXT NOT NULL,            -- granted directly: a JSON array
    roles         TEXT NOT NULL,            -- role names: a JSON array
    status        TEXT NOT NULL DEFAULT 'active',
    failures      INTEGER NOT NULL DEFAULT 0,
    locked_until  INTEGER,
    created_at    INTEGER NOT NULL,
    UNIQUE (tenant_id, username)
) STRICT;

CREATE TABLE roles (
    id          TEXT NOT NULL PRIMARY KEY,
    tenant_id   TEXT NOT NULL,
    name        TEXT NOT NULL,
    description TEXT,
    permissions TEXT NOT NULL,              -- a JSON array
    condition   TEXT,                       -- CEL over user, resource and env
    version     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    UNIQUE (tenant_id, name)
) STRICT;

-- A login: a family of refresh tokens, of which one is good at a time.
CREATE TABLE sessions (
    id         TEXT NOT NULL PRIMARY KEY,
    tenant_id  TEXT NOT NULL,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;
CREATE INDEX sessions_age ON sessions (expires_at);
CREATE INDEX sessions_user ON sessions (user_id);

CREATE TABLE refresh_tokens (
    digest     TEXT NOT NULL PRIMARY KEY,   -- SHA-256; the token itself is not kept
    tenant_id  TEXT NOT NULL,
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER
) WITHOUT ROWID, STRICT;
CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);

-- Tokens of services that call for themselves or on behalf of users.
CREATE TABLE service_tokens (
    id          TEXT NOT NULL PRIMARY KEY,  -- the token's jti
    tenant_id   TEXT NOT NULL,
    name        TEXT NOT NULL,
    permissions TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    revoked_at  INTEGER
) STRICT;

-- ---- events ----

-- The event log: append-only. `position` orders everything, `sequence` counts within a tenant's topic, from 1.
CREATE TABLE events (
    position       INTEGER PRIMARY KEY AUTOINCREMENT,
    id             TEXT NOT NULL UNIQUE,
    tenant_id      TEXT NOT NULL,
    topic          TEXT NOT NULL,
    sequence       INTEGER NOT NULL,
    source         TEXT NOT NULL,
    subject        TEXT,
    correlation_id TEXT,
    time           INTEGER NOT NULL, -- milliseconds since 1970: when it happened
    data           TEXT NOT NULL,    -- a JSON object
    UNIQUE (tenant_id, topic, sequence)
) STRICT;
CREATE INDEX events_by_tenant ON events (tenant_id, position);

CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_are_never_removed BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

-- Who wants which events. `position` is the last event that was delivered or given up;
-- `attempts` and `retry_at` are about the next one.
CREATE TABLE subscriptions (
    id         TEXT PRIMARY KEY,
    tenant_id  TEXT NOT NULL,
    topic      TEXT NOT NULL,    -- a topic, `execution.*` or `*`
    url        TEXT NOT NULL,
    secret     BLOB NOT NULL,    -- the key of the signatures, sealed
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    retry_at   INTEGER,
    last_error TEXT
) STRICT;
CREATE INDEX subscriptions_by_tenant ON subscriptions (tenant_id, id);

-- Events that a subscriber did not take, however often it was tried.
CREATE TABLE dead_letters (
    subscription_id TEXT NOT NULL REFERENCES subscriptions (id) ON DELETE CASCADE,
    position        INTEGER NOT NULL REFERENCES events (position),
    tenant_id       TEXT NOT NULL,
    attempts        INTEGER NOT NULL,
    reason          TEXT NOT NULL,
    failed_at       INTEGER NOT NULL,
    PRIMARY KEY (subscription_id, position)
) STRICT, WITHOUT ROWID;

-- ---- audit ----

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
