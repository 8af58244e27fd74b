-- AI Agent: registered agents, the ledger of their calls, and its sums.
CREATE TABLE agents (
    tenant_id  TEXT NOT NULL,
    id         TEXT NOT NULL,
    version    INTEGER NOT NULL CHECK (version > 0),
    profile    TEXT NOT NULL,    -- a JSON object
    is_enabled INTEGER NOT NULL CHECK (is_enabled IN (0, 1)),
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

-- Agents were known by the feedback on them before: they are registered by it, and the feedback stays.
INSERT INTO agents (tenant_id, id, version, profile, is_enabled, created_at, created_by, updated_at)
SELECT tenant_id, agent_id, 1, json_object('name', agent_id), 1, min(created_at), 'system', min(created_at)
FROM feedback GROUP BY tenant_id, agent_id;

-- The ledger: one row for each call, with what it cost. It holds neither prompts nor answers.
CREATE TABLE agent_calls (
    tenant_id      TEXT NOT NULL,
    id             TEXT NOT NULL,
    agent_id       TEXT NOT NULL,
    agent_version  INTEGER NOT NULL,
    prompt_id      TEXT,
    prompt_version TEXT,
    execution_id   TEXT,
    subject        TEXT NOT NULL,
    provider       TEXT NOT NULL,
    model          TEXT NOT NULL,
    input_tokens   INTEGER NOT NULL,
    output_tokens  INTEGER NOT NULL,
    is_cached      INTEGER NOT NULL CHECK (is_cached IN (0, 1)),
    error          TEXT,             -- the code of what failed
    millis         INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX agent_calls_by_model ON agent_calls (tenant_id, model, created_at, input_tokens, output_tokens);

CREATE TABLE agent_totals (
    tenant_id     TEXT NOT NULL,
    agent_id      TEXT NOT NULL,
    model         TEXT NOT NULL,
    calls         INTEGER NOT NULL,
    cached        INTEGER NOT NULL,
    errors        INTEGER NOT NULL,
    input_tokens  INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    timed         INTEGER NOT NULL,  -- calls that a model answered
    millis        INTEGER NOT NULL,  -- how long these took together
    PRIMARY KEY (tenant_id, agent_id, model)
) STRICT, WITHOUT ROWID;
