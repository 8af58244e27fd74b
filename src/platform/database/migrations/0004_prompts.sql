-- Prompt Engineering: prompts and their versions. A published version is never changed and never removed.
CREATE TABLE prompts (
    tenant_id  TEXT NOT NULL,
    id         TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE prompt_versions (
    tenant_id    TEXT NOT NULL,
    prompt_id    TEXT NOT NULL,
    ordinal      INTEGER NOT NULL,
    version      TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('draft', 'published')),
    name         TEXT NOT NULL,
    content      TEXT NOT NULL,  -- template, variables, tags, blocks and samples: a JSON object
    created_at   INTEGER NOT NULL,
    created_by   TEXT NOT NULL,
    published_at INTEGER,
    PRIMARY KEY (tenant_id, prompt_id, ordinal),
    UNIQUE (tenant_id, prompt_id, version),
    FOREIGN KEY (tenant_id, prompt_id) REFERENCES prompts (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER prompt_versions_published BEFORE UPDATE ON prompt_versions WHEN OLD.status = 'published'
BEGIN
    SELECT RAISE(ABORT, 'a published version never changes');
END;

CREATE TRIGGER prompt_versions_kept BEFORE DELETE ON prompt_versions WHEN OLD.status = 'published'
BEGIN
    SELECT RAISE(ABORT, 'a published version is never removed');
END;
