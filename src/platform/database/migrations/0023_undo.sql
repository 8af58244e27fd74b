-- Execution engine: what it takes to undo a step, one row for each pass of a node that completed.
CREATE TABLE execution_undo (
    tenant_id    TEXT NOT NULL,
    execution_id TEXT NOT NULL,
    sequence     INTEGER NOT NULL,
    node_id      TEXT NOT NULL,
    facts        TEXT,                 -- what its undoing reads, as it was then: JSON; without, it reads what is there now
    below_id     TEXT,                 -- the execution whose steps are undone in its place
    PRIMARY KEY (tenant_id, execution_id, sequence),
    FOREIGN KEY (tenant_id, execution_id) REFERENCES executions (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

INSERT INTO execution_undo (tenant_id, execution_id, sequence, node_id)
SELECT executions.tenant_id, executions.id, node.key + 1, node.value
FROM executions, json_each(executions.state, '$.undo') AS node;
