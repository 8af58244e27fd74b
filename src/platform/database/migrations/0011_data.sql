-- Data Intelligence: the schemas that were discovered, with types and ranges and without a value of the data.
CREATE TABLE discovered_schemas (
    tenant_id     TEXT NOT NULL,
    id            TEXT NOT NULL,
    source_type   TEXT NOT NULL,
    source_id     TEXT NOT NULL,    -- empty where the source has none
    shape         TEXT NOT NULL,    -- digest of names, types and formats: the same data has one schema
    profile       TEXT NOT NULL,    -- JSON
    quality       REAL NOT NULL,
    discovered_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, source_type, source_id, shape)
) STRICT, WITHOUT ROWID;
CREATE INDEX discovered_schemas_by_source ON discovered_schemas (tenant_id, source_id, discovered_at);
CREATE INDEX discovered_schemas_by_age ON discovered_schemas (tenant_id, discovered_at);
