-- What the server keeps between calls.

PRAGMA application_id = 1179472724; -- FMST

-- Records of callers, each good for a time, such as a call that waits for a person's approval.
CREATE TABLE records (
    kind       TEXT NOT NULL,
    owner      TEXT NOT NULL,
    id         TEXT NOT NULL,
    tag        TEXT NOT NULL,    -- what the record is bound to, such as the digest of a call
    value      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (kind, owner, id)
) STRICT;
CREATE INDEX records_by_expiry ON records (expires_at);

CREATE TABLE record_usage (
    kind    TEXT PRIMARY KEY,
    entries INTEGER NOT NULL,
    bytes   INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE TRIGGER records_added AFTER INSERT ON records BEGIN
    INSERT INTO record_usage VALUES (new.kind, 1, length(new.value))
        ON CONFLICT (kind) DO UPDATE SET entries = entries + 1, bytes = bytes + length(new.value);
END;
CREATE TRIGGER records_removed AFTER DELETE ON records BEGIN
    UPDATE record_usage SET entries = entries - 1, bytes = bytes - length(old.value) WHERE kind = old.kind;
END;
CREATE TRIGGER records_amended AFTER UPDATE OF value ON records BEGIN
    UPDATE record_usage SET bytes = bytes - length(old.value) + length(new.value) WHERE kind = new.kind;
END;

-- Entries of the audit log on their way to the platform. Those with a dead_reason are dead letters.
CREATE TABLE outbox (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT NOT NULL UNIQUE,
    tenant       TEXT NOT NULL,    -- empty where the caller is not known
    caller       TEXT NOT NULL,
    priority     INTEGER NOT NULL, -- 0: writes, decisions, refusals; 1: reads
    body         TEXT NOT NULL,
    bytes        INTEGER NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    first_failed INTEGER,
    dead_reason  TEXT
) STRICT;
-- A letter that failed once keeps its place; one that failed again goes behind the others.
CREATE INDEX outbox_waiting ON outbox (tenant, caller, max(attempts, 1), priority, seq) WHERE dead_reason IS NULL;
CREATE INDEX outbox_evictable ON outbox (tenant, caller, priority, seq) WHERE dead_reason IS NULL;
CREATE INDEX outbox_dead ON outbox (seq) WHERE dead_reason IS NOT NULL;

-- What waits of each tenant, when it is tried next, and who is trying now.
CREATE TABLE outbox_tenants (
    tenant       TEXT PRIMARY KEY,
    entries      INTEGER NOT NULL DEFAULT 0,
    bytes        INTEGER NOT NULL DEFAULT 0,
    lost         INTEGER NOT NULL DEFAULT 0, -- lost entries that no entry tells of yet
    due          INTEGER NOT NULL DEFAULT 0,
    pause        INTEGER NOT NULL DEFAULT 0, -- the last back-off, in milliseconds; 0 after success
    served       INTEGER NOT NULL DEFAULT 0,
    last_taken   INTEGER NOT NULL DEFAULT 0,
    lease        TEXT,
    leased_until INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID, STRICT;
CREATE TABLE outbox_callers (
    tenant  TEXT NOT NULL,
    caller  TEXT NOT NULL,
    entries INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    PRIMARY KEY (tenant, caller)
) WITHOUT ROWID, STRICT;
CREATE TABLE outbox_total (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    bytes INTEGER NOT NULL,
    dead  INTEGER NOT NULL
) STRICT;
INSERT INTO outbox_total VALUES (1, 0, 0);

CREATE TRIGGER outbox_added AFTER INSERT ON outbox WHEN new.dead_reason IS NULL BEGIN
    UPDATE outbox_total SET bytes = bytes + new.bytes;
    INSERT INTO outbox_tenants (tenant, entries, bytes) VALUES (new.tenant, 1, new.bytes)
        ON CONFLICT (tenant) DO UPDATE SET entries = entries + 1, bytes = bytes + new.bytes;
    INSERT INTO outbox_callers VALUES (new.tenant, new.caller, 1, new.bytes)
        ON CONFLICT (tenant, caller) DO UPDATE SET entries = entries + 1, bytes = bytes + new.bytes;
END;
CREATE TRIGGER outbox_removed AFTER DELETE ON outbox WHEN old.dead_reason IS NULL BEGIN
    UPDATE outbox_total SET bytes = bytes - old.bytes;
    UPDATE outbox_tenants SET entries = entries - 1, bytes = bytes - old.bytes WHERE tenant = old.tenant;
    UPDATE outbox_callers SET entries = entries - 1, bytes = bytes - old.bytes WHERE tenant = old.tenant AND caller = old.caller;
    DELETE FROM outbox_callers WHERE tenant = old.tenant AND caller = old.caller AND entries = 0;
END;
CREATE TRIGGER outbox_died AFTER UPDATE OF dead_reason ON outbox WHEN old.dead_reason IS NULL AND new.dead_reason IS NOT NULL BEGIN
    UPDATE outbox_total SET bytes = bytes - old.bytes, dead = dead + old.bytes;
    UPDATE outbox_tenants SET entries = entries - 1, bytes = bytes - old.bytes WHERE tenant = old.tenant;
    UPDATE outbox_callers SET entries = entries - 1, bytes = bytes - old.bytes WHERE tenant = old.tenant AND caller = old.caller;
    DELETE FROM outbox_callers WHERE tenant = old.tenant AND caller = old.caller AND entries = 0;
END;
CREATE TRIGGER outbox_dead_added AFTER INSERT ON outbox WHEN new.dead_reason IS NOT NULL BEGIN
    UPDATE outbox_total SET dead = dead + new.bytes;
END;
CREATE TRIGGER outbox_dead_removed AFTER DELETE ON outbox WHEN old.dead_reason IS NOT NULL BEGIN
    UPDATE outbox_total SET dead = dead - old.bytes;
END;
CREATE TRIGGER outbox_resent AFTER UPDATE OF dead_reason ON outbox WHEN old.dead_reason IS NOT NULL AND new.dead_reason IS NULL BEGIN
    UPDATE outbox_total SET bytes = bytes + new.bytes, dead = dead - new.bytes;
    INSERT INTO outbox_tenants (tenant, entries, bytes) VALUES (new.tenant, 1, new.bytes)
        ON CONFLICT (tenant) DO UPDATE SET entries = entries + 1, bytes = bytes + new.bytes, due = 0, pause = 0;
    INSERT INTO outbox_callers VALUES (new.tenant, new.caller, 1, new.bytes)
        ON CONFLICT (tenant, caller) DO UPDATE SET entries = entries + 1, bytes = bytes + new.bytes;
END;
