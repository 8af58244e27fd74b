-- Learning Management: feedback on the answers of agents, bound to the version of the prompt.
CREATE TABLE feedback (
    tenant_id         TEXT NOT NULL,
    id                TEXT NOT NULL,
    agent_id          TEXT NOT NULL,
    agent_version     TEXT,
    prompt_id         TEXT NOT NULL,
    prompt_version    TEXT NOT NULL,
    execution_id      TEXT,
    accuracy          REAL,             -- 0 to 1
    user_satisfaction REAL,             -- 0 to 5
    submitted_by      TEXT NOT NULL,
    created_at        INTEGER NOT NULL,
    expected_output   TEXT,
    actual_output     TEXT,
    notes             TEXT,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, prompt_id) REFERENCES prompts (tenant_id, id)
) STRICT;
CREATE INDEX feedback_by_agent ON feedback (tenant_id, agent_id, id);
CREATE INDEX feedback_by_prompt ON feedback (tenant_id, prompt_id, id);
CREATE INDEX feedback_by_agent_and_prompt ON feedback (tenant_id, agent_id, prompt_id, id);
CREATE INDEX feedback_by_time ON feedback (tenant_id, created_at);

-- Datasets: snapshots of feedback and of what was asked. Their lines in order, each with an end of line, are the
-- content that `digest` is the SHA-256 of.
CREATE TABLE datasets (
    tenant_id  TEXT NOT NULL,
    id         TEXT NOT NULL,
    name       TEXT NOT NULL,
    agent_id   TEXT,
    prompt_id  TEXT,
    records    INTEGER NOT NULL,
    digest     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE dataset_lines (
    tenant_id  TEXT NOT NULL,
    dataset_id TEXT NOT NULL,
    place      INTEGER NOT NULL,
    line       TEXT NOT NULL,           -- a JSON object
    PRIMARY KEY (tenant_id, dataset_id, place),
    FOREIGN KEY (tenant_id, dataset_id) REFERENCES datasets (tenant_id, id)
) STRICT;

CREATE TRIGGER datasets_kept BEFORE UPDATE ON datasets
BEGIN SELECT RAISE(ABORT, 'a dataset never changes'); END;
CREATE TRIGGER dataset_lines_kept BEFORE UPDATE ON dataset_lines
BEGIN SELECT RAISE(ABORT, 'a dataset never changes'); END;

-- Retraining jobs. `attempts` counts how often a job was begun: one that never ends is given up.
CREATE TABLE retraining_jobs (
    tenant_id    TEXT NOT NULL,
    id           TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    agent_id     TEXT NOT NULL,
    prompt_id    TEXT,
    dataset_id   TEXT NOT NULL,
    progress     REAL NOT NULL DEFAULT 0,
    attempts     INTEGER NOT NULL DEFAULT 0,
    scheduled_at INTEGER NOT NULL,
    started_at   INTEGER,
    completed_at INTEGER,
    created_at   INTEGER NOT NULL,
    created_by   TEXT NOT NULL,
    metrics      TEXT NOT NULL DEFAULT '{}',
    artifact     TEXT NOT NULL DEFAULT '{}',
    error        TEXT,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, dataset_id) REFERENCES datasets (tenant_id, id)
) STRICT;
CREATE INDEX retraining_jobs_due ON retraining_jobs (scheduled_at) WHERE status IN ('pending', 'running');
CREATE INDEX retraining_jobs_open ON retraining_jobs (tenant_id) WHERE status IN ('pending', 'running');
