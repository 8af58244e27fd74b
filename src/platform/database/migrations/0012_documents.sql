-- Document Intelligence: files by their digest, once in a tenant, and the documents with what was read out of them.
CREATE TABLE document_blobs (
    tenant_id TEXT NOT NULL,
    digest    TEXT NOT NULL,    -- SHA-256
    size      INTEGER NOT NULL,
    content   BLOB NOT NULL,
    PRIMARY KEY (tenant_id, digest)
) STRICT;
CREATE INDEX document_blobs_size ON document_blobs (tenant_id, size);

-- `number` ties a document to its words in the search index.
CREATE TABLE documents (
    number     INTEGER PRIMARY KEY,
    tenant_id  TEXT NOT NULL,
    id         TEXT NOT NULL,
    digest     TEXT NOT NULL,
    type       TEXT NOT NULL,
    certainty  REAL,             -- of the type, where it was predicted
    text       TEXT NOT NULL,    -- empty where none was read
    extracted  TEXT NOT NULL,    -- a JSON object
    confidence REAL,
    metadata   TEXT NOT NULL,    -- a JSON object
    embedding  BLOB NOT NULL,    -- 256 floats of 32 bits, little-endian
    created_at INTEGER NOT NULL,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, digest) REFERENCES document_blobs (tenant_id, digest)
) STRICT;
CREATE INDEX documents_by_type ON documents (tenant_id, type, number);

-- The words of text and metadata; the documents themselves stay in their table.
CREATE VIRTUAL TABLE document_words USING fts5 (
    words, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);
