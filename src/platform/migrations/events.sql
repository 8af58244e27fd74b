-- The event log: append-only. `position` orders everything, `sequence` counts within a tenant's topic, from 1.
CREATE TABLE events (
    position       INTEGER PRIMARY KEY AUTOINCREMENT,
    id             TEXT NOT NULL UNIQUE,
    tenant_id      TEXT NOT NULL,
    topic          TEXT NOT NULL,
    sequence       INTEGER NOT NULL,
    source         TEXT NOT NULL,
    subject        TEXT,
    correlation_id TEXT,
    time           INTEGER NOT NULL, -- milliseconds since 1970: when it happened
    data           TEXT NOT NULL,    -- a JSON object
    UNIQUE (tenant_id, topic, sequence)
) STRICT;
CREATE INDEX events_by_tenant ON events (tenant_id, position);

CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_are_never_removed BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

-- Who wants which events. `position` is the last event that was delivered or given up;
-- `attempts` and `retry_at` are about the next one.
CREATE TABLE subscriptions (
    id         TEXT PRIMARY KEY,
    tenant_id  TEXT NOT NULL,
    topic      TEXT NOT NULL,    -- a topic, `execution.*` or `*`
    url        TEXT NOT NULL,
    secret     BLOB NOT NULL,    -- the key of the signatures, sealed
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    retry_at   INTEGER,
    last_error TEXT
) STRICT;
CREATE INDEX subscriptions_by_tenant ON subscriptions (tenant_id, id);

-- Events that a subscriber did not take, however often it was tried.
CREATE TABLE dead_letters (
    subscription_id TEXT NOT NULL REFERENCES subscriptions (id) ON DELETE CASCADE,
    position        INTEGER NOT NULL REFERENCES events (position),
    tenant_id       TEXT NOT NULL,
    attempts        INTEGER NOT NULL,
    reason          TEXT NOT NULL,
    failed_at       INTEGER NOT NULL,
    PRIMARY KEY (subscription_id, position)
) STRICT, WITHOUT ROWID;
