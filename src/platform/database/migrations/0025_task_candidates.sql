-- Human tasks: those who may answer a task that several were named for, until it is given to one of them.
CREATE TABLE task_candidates (
    tenant_id     TEXT NOT NULL,
    task_id       TEXT NOT NULL,
    place         INTEGER NOT NULL,
    assignee      TEXT NOT NULL,
    assignee_kind TEXT NOT NULL CHECK (assignee_kind IN ('user', 'role')),
    PRIMARY KEY (tenant_id, task_id, place),
    FOREIGN KEY (tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX task_candidates_of ON task_candidates (tenant_id, assignee, task_id);
