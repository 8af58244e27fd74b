-- Process Design: definitions and their versions. A published version is never changed.
CREATE TABLE processes (
    tenant_id  TEXT NOT NULL,
    id         TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE process_versions (
    tenant_id    TEXT NOT NULL,
    process_id   TEXT NOT NULL,
    ordinal      INTEGER NOT NULL,
    version      TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('draft', 'published')),
    name         TEXT NOT NULL,
    definition   TEXT NOT NULL,
    metadata     TEXT NOT NULL,
    revision     INTEGER NOT NULL DEFAULT 1,
    created_at   INTEGER NOT NULL,
    created_by   TEXT NOT NULL,
    published_at INTEGER,
    PRIMARY KEY (tenant_id, process_id, ordinal),
    UNIQUE (tenant_id, process_id, version),
    FOREIGN KEY (tenant_id, process_id) REFERENCES processes (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER process_versions_published BEFORE UPDATE ON process_versions WHEN OLD.status = 'published'
BEGIN
    SELECT RAISE(ABORT, 'a published version never changes');
END;
