-- Subscriptions of hosts whose events are delivered to their addresses.
CREATE TABLE webhooks (
    id            TEXT PRIMARY KEY,
    tenant        TEXT NOT NULL,
    owner         TEXT NOT NULL,              -- the digest of the caller whose it is
    url           TEXT NOT NULL,
    value         TEXT NOT NULL,              -- what is delivered, and for whom
    cursor        TEXT NOT NULL,              -- up to where the platform's events were taken over
    acknowledged  TEXT NOT NULL,              -- up to where each was taken by the receiver, or given up
    expires_at    INTEGER,                    -- null: it has no end
    due           INTEGER NOT NULL,
    attempts      INTEGER NOT NULL DEFAULT 0, -- failures since the last success
    failing_since INTEGER,
    last_error    TEXT,
    delivered_at  INTEGER,
    dead          INTEGER NOT NULL DEFAULT 0, -- events that were given up
    lease         TEXT,
    leased_until  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX webhooks_by_due ON webhooks (due);
CREATE INDEX webhooks_by_tenant ON webhooks (tenant, owner, url);

-- Deliveries on their way, in the order of their events. Those with a dead_reason are dead letters.
CREATE TABLE webhook_letters (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook     TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    id          TEXT NOT NULL,
    body        TEXT NOT NULL,
    dead_reason TEXT,
    UNIQUE (webhook, id)
) STRICT;
CREATE INDEX webhook_letters_waiting ON webhook_letters (webhook, seq) WHERE dead_reason IS NULL;
