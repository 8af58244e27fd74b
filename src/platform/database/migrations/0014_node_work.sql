-- Execution engine: work of nodes that is done outside the writer's transaction, such as a call of an outside system.
CREATE TABLE node_work (
    tenant_id       TEXT NOT NULL,
    id              TEXT NOT NULL,
    kind            TEXT NOT NULL,
    execution_id    TEXT NOT NULL,
    node_id         TEXT NOT NULL,
    actor           TEXT NOT NULL,
    request         TEXT NOT NULL,              -- what the service is asked for: JSON
    attempts        INTEGER NOT NULL DEFAULT 0, -- those that ended and are repeated
    begun           INTEGER NOT NULL DEFAULT 0, -- those that began since an attempt's end was kept
    next_attempt_at INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, execution_id) REFERENCES executions (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX node_work_due ON node_work (kind, next_attempt_at);
CREATE INDEX node_work_execution ON node_work (tenant_id, execution_id);
