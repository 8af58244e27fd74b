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
