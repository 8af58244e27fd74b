-- What lists are read from, so that a page costs the same whatever lies behind it.

-- Processes as lists show them, each as of its latest version. `number` counts them as they came, and ties a process to the
-- words of its name.
CREATE TABLE process_list (
    number     INTEGER PRIMARY KEY,
    tenant_id  TEXT NOT NULL,
    process_id TEXT NOT NULL,
    ordinal    INTEGER NOT NULL,
    status     TEXT NOT NULL,
    name       TEXT NOT NULL,
    UNIQUE (tenant_id, process_id)
) STRICT;
CREATE INDEX process_list_by_age ON process_list (tenant_id, number);
CREATE INDEX process_list_by_status ON process_list (tenant_id, status, number);

-- `scope` holds the tenant in hexadecimal digits, and the status: the words of others are never walked.
CREATE VIRTUAL TABLE process_words USING fts5 (
    scope, words, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);

INSERT INTO process_list (tenant_id, process_id, ordinal, status, name)
SELECT tenant_id, process_id, ordinal, status, name FROM process_versions AS v
WHERE ordinal = (SELECT max(ordinal) FROM process_versions AS o WHERE o.tenant_id = v.tenant_id AND o.process_id = v.process_id)
ORDER BY process_id;

INSERT INTO process_words (rowid, scope, words)
SELECT number, hex(tenant_id) || ' ' || status, words_of(json_quote(name)) FROM process_list;

-- Executions by their start: all of them, those of a process, those in a state, and both.
CREATE INDEX executions_by_start ON executions (tenant_id, started_at, id);
CREATE INDEX executions_by_status ON executions (tenant_id, status, started_at, id);
DROP INDEX executions_process;
CREATE INDEX executions_by_process ON executions (tenant_id, process_id, started_at, id);
CREATE INDEX executions_by_process_and_status ON executions (tenant_id, process_id, status, started_at, id);

-- Documents by the time of their upload, and by type and time.
CREATE INDEX documents_by_time ON documents (tenant_id, created_at, number);
CREATE INDEX documents_by_type_and_time ON documents (tenant_id, type, created_at, number);

-- A schema that changes is checked against the records first, and in the same transaction against those that changed meanwhile.
ALTER TABLE entity_types ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
CREATE INDEX entities_by_change ON entities (tenant_id, type, updated_at);
