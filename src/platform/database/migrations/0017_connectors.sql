-- ---- connectors ----

-- Imports: what is read, where it goes, and when. `content` is a file that came with the job; `credentials` are sealed.
CREATE TABLE ingest_jobs (
    tenant_id        TEXT NOT NULL,
    id               TEXT NOT NULL,
    source_type      TEXT NOT NULL,
    config           TEXT NOT NULL,    -- a JSON object, without secrets and without the file
    content          BLOB,
    credentials      BLOB,             -- a JSON object, sealed with the folder's key
    credential_names TEXT NOT NULL,    -- a JSON array
    destination      TEXT NOT NULL,
    entity_type      TEXT NOT NULL,
    key_field        TEXT NOT NULL,
    schedule         TEXT,             -- five fields of cron, or an RRULE
    cdc              INTEGER NOT NULL,
    status           TEXT NOT NULL CHECK (status IN ('created', 'pending', 'running', 'completed', 'failed', 'cancelled')),
    runs_as          TEXT NOT NULL,    -- the person or service whose rights the scheduled runs need
    watermark        TEXT,             -- up to where completed runs have read
    created_at       INTEGER NOT NULL,
    next_run_at      INTEGER,
    runs             INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant_id, id)
) STRICT;
CREATE INDEX ingest_jobs_due ON ingest_jobs (next_run_at) WHERE next_run_at IS NOT NULL;

-- Runs of imports. Position, checksum and counts move on in the transaction of the rows that they tell of.
CREATE TABLE ingest_runs (
    tenant_id    TEXT NOT NULL,
    job_id       TEXT NOT NULL,
    id           TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    runs_as      TEXT NOT NULL,
    due_at       INTEGER NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0, -- attempts since the last progress
    pass         INTEGER NOT NULL DEFAULT 0, -- how often it was begun at the first row
    digest       TEXT,                       -- of the file that the position is in
    position     INTEGER NOT NULL DEFAULT 0, -- rows of the source that were dealt with
    records_read INTEGER NOT NULL DEFAULT 0,
    written      INTEGER NOT NULL DEFAULT 0,
    dead         INTEGER NOT NULL DEFAULT 0,
    keys         INTEGER NOT NULL DEFAULT 0, -- different keys among the rows written
    bytes_read   INTEGER NOT NULL DEFAULT 0,
    checksum     TEXT NOT NULL DEFAULT '',
    high         TEXT,                       -- the job's watermark once the run is complete
    reconciled   INTEGER,
    code         TEXT,
    error        TEXT,
    started_at   INTEGER,
    ended_at     INTEGER,
    PRIMARY KEY (tenant_id, job_id, id),
    FOREIGN KEY (tenant_id, job_id) REFERENCES ingest_jobs (tenant_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX ingest_runs_due ON ingest_runs (due_at) WHERE status IN ('pending', 'running');

-- Which record a row of a source became, by the value of its key. `seen` is the run and pass that brought it last.
CREATE TABLE ingest_keys (
    tenant_id   TEXT NOT NULL,
    entity_type TEXT NOT NULL,
    key_field   TEXT NOT NULL,
    key         TEXT NOT NULL,
    entity_id   TEXT NOT NULL,
    seen        TEXT NOT NULL,
    PRIMARY KEY (tenant_id, entity_type, key_field, key)
) STRICT, WITHOUT ROWID;

-- Rows that could not become records, those of a job's last run.
CREATE TABLE ingest_dead_letters (
    tenant_id TEXT NOT NULL,
    job_id    TEXT NOT NULL,
    place     INTEGER NOT NULL, -- the number of the row in its source, from 1
    code      TEXT NOT NULL,
    reason    TEXT NOT NULL,
    row       TEXT NOT NULL,    -- its text, up to a bound
    PRIMARY KEY (tenant_id, job_id, place)
) STRICT, WITHOUT ROWID;
