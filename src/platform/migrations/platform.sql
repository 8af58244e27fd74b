-- What belongs to the platform as a whole.

-- Answers of calls that carried an Idempotency-Key, kept for 24 hours. A row is written with the call's own
-- transaction; the sealed answer follows it.
CREATE TABLE idempotency (
    tenant_id   TEXT NOT NULL,
    subject     TEXT NOT NULL,
    route       TEXT NOT NULL,
    key         TEXT NOT NULL,
    body_digest TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    answer      BLOB,
    PRIMARY KEY (tenant_id, subject, route, key)
) WITHOUT ROWID, STRICT;
CREATE INDEX idempotency_age ON idempotency (created_at);
