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
