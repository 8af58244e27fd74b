-- Imports that follow a database's log: the replication slot that is at the source, and the table that it follows there.
ALTER TABLE ingest_jobs ADD COLUMN slot TEXT;
ALTER TABLE ingest_jobs ADD COLUMN slot_table INTEGER; -- the table's oid: another table of the same name has another

-- Records that a run removed because their rows are gone from the source.
ALTER TABLE ingest_runs ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;
