-- Scheduling: which process starts at which times, and each time that was dealt with.

-- `planned_at` is the next time that was set; absent, there is none any more. `due_at` is when the worker looks at it:
-- the same moment, or later where an attempt is repeated.
CREATE TABLE schedules (
    tenant_id      TEXT NOT NULL,
    id             TEXT NOT NULL,
    process_id     TEXT NOT NULL,
    expression     TEXT NOT NULL,    -- five fields of cron, or an RRULE
    timezone       TEXT NOT NULL,    -- an IANA name
    variables      TEXT NOT NULL,    -- a JSON object
    misfire_policy TEXT NOT NULL CHECK (misfire_policy IN ('skip', 'once', 'all')),
    anchor         INTEGER NOT NULL, -- an RRULE without DTSTART counts from this moment's day
    version        INTEGER NOT NULL DEFAULT 1,
    runs_as        TEXT NOT NULL,    -- the person or service with whose right it starts executions
    planned_at     INTEGER,
    due_at         INTEGER,
    attempts       INTEGER NOT NULL DEFAULT 0,
    last_run_at    INTEGER,
    last_execution TEXT,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX schedules_due ON schedules (due_at) WHERE due_at IS NOT NULL;

-- One row for each planned time, so that none starts an execution twice. A run out of turn has no planned time.
CREATE TABLE schedule_fires (
    tenant_id    TEXT NOT NULL,
    schedule_id  TEXT NOT NULL,
    id           TEXT NOT NULL,
    planned_at   INTEGER,
    fired_at     INTEGER NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('started', 'failed', 'skipped')),
    missed       INTEGER NOT NULL, -- earlier planned times that this one stands for
    execution_id TEXT,
    code         TEXT,
    message      TEXT,
    PRIMARY KEY (tenant_id, schedule_id, id),
    UNIQUE (tenant_id, schedule_id, planned_at),
    FOREIGN KEY (tenant_id, schedule_id) REFERENCES schedules (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
