-- Integration Hub: outside systems, their sealed credentials, and the log of calls.
CREATE TABLE integrations (
    tenant_id      TEXT NOT NULL,
    id             TEXT NOT NULL,
    name           TEXT NOT NULL,
    connector_type TEXT NOT NULL,
    base_url       TEXT NOT NULL,
    auth_type      TEXT NOT NULL,
    mapping        TEXT NOT NULL,              -- a JSON object
    status         TEXT NOT NULL,
    failures       INTEGER NOT NULL DEFAULT 0, -- of calls, since the last that succeeded
    open_until     INTEGER,                    -- the breaker is open until then, and half open after it
    last_sync_at   INTEGER,
    version        INTEGER NOT NULL DEFAULT 1,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE integration_secrets (
    tenant_id      TEXT NOT NULL,
    integration_id TEXT NOT NULL,
    name           TEXT NOT NULL,
    sealed         BLOB NOT NULL,
    PRIMARY KEY (tenant_id, integration_id, name),
    FOREIGN KEY (tenant_id, integration_id) REFERENCES integrations (tenant_id, id)
) STRICT, WITHOUT ROWID;

-- A call is here from before it is sent; a queued one waits here for its next attempt.
CREATE TABLE integration_calls (
    tenant_id       TEXT NOT NULL,
    id              TEXT NOT NULL,
    integration_id  TEXT NOT NULL,
    execution_id    TEXT,
    node_id         TEXT,
    method          TEXT NOT NULL,
    path            TEXT NOT NULL,
    request         TEXT,                      -- query and body of a queued call, until it ended: JSON
    idempotency_key TEXT NOT NULL,
    actor           TEXT NOT NULL,
    recorded_by     TEXT NOT NULL,
    correlation_id  TEXT,
    instance        TEXT NOT NULL,             -- the run of the platform that made it
    status          TEXT NOT NULL CHECK (status IN ('sending', 'queued', 'completed', 'failed')),
    attempts        INTEGER NOT NULL DEFAULT 0,
    status_code     INTEGER,
    error           TEXT,
    next_attempt_at INTEGER,
    created_at      INTEGER NOT NULL,
    ended_at        INTEGER,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, integration_id) REFERENCES integrations (tenant_id, id),
    CHECK ((status = 'queued') = (next_attempt_at IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX integration_calls_due ON integration_calls (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX integration_calls_sending ON integration_calls (status) WHERE status = 'sending';
CREATE INDEX integration_calls_queued ON integration_calls (tenant_id) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX integration_calls_of ON integration_calls (tenant_id, integration_id, id);
