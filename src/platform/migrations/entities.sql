-- The tenant's types of records.
CREATE TABLE entity_types (
    tenant_id  TEXT NOT NULL,
    name       TEXT NOT NULL,
    schema     TEXT,             -- a JSON Schema; absent: any object
    implied    INTEGER NOT NULL, -- 1 if the first record made it, and nobody defined it yet
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;

-- The records. `number` counts them as they came, and ties a record to its words in the search index.
CREATE TABLE entities (
    number     INTEGER PRIMARY KEY,
    tenant_id  TEXT NOT NULL,
    id         TEXT NOT NULL,
    type       TEXT NOT NULL,
    data       TEXT NOT NULL,    -- a JSON object
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, type) REFERENCES entity_types (tenant_id, name)
) STRICT;
CREATE INDEX entities_by_age ON entities (tenant_id, type, created_at);

-- Which record names which others, by relation and in order.
CREATE TABLE entity_links (
    tenant_id TEXT NOT NULL,
    source    TEXT NOT NULL,
    relation  TEXT NOT NULL,
    place     INTEGER NOT NULL,
    target    TEXT NOT NULL,
    PRIMARY KEY (tenant_id, source, relation, place),
    FOREIGN KEY (tenant_id, source) REFERENCES entities (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, target) REFERENCES entities (tenant_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX entity_links_by_target ON entity_links (tenant_id, target);

-- The words of the records; the records themselves stay in their table.
CREATE VIRTUAL TABLE entity_words USING fts5 (
    words, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);
