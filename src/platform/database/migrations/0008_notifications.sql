-- Notification: templates of texts. A template is never changed, so a notification can be traced to its text.
CREATE TABLE notification_templates (
    tenant_id  TEXT NOT NULL,
    id         TEXT NOT NULL,
    name       TEXT NOT NULL,
    subject    TEXT,
    body       TEXT NOT NULL,
    channels   TEXT NOT NULL,    -- a JSON array
    variables  TEXT NOT NULL,    -- the names in subject and body: a JSON array
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE notifications (
    tenant_id   TEXT NOT NULL,
    id          TEXT NOT NULL,
    template_id TEXT NOT NULL,
    email       TEXT COLLATE NOCASE,
    user_id     TEXT,
    phone       TEXT,
    variables   TEXT NOT NULL,   -- a JSON object
    channels    TEXT NOT NULL,   -- the channels asked for: a JSON array
    fallbacks   TEXT NOT NULL,   -- channels that are left if those before fail: a JSON array
    subject     TEXT NOT NULL,   -- as it is sent
    body        TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('queued', 'sent', 'failed')),
    created_at  INTEGER NOT NULL,
    sent_at     INTEGER,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, template_id) REFERENCES notification_templates (tenant_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX notifications_email ON notifications (tenant_id, email, id) WHERE email IS NOT NULL;
CREATE INDEX notifications_user ON notifications (tenant_id, user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX notifications_phone ON notifications (tenant_id, phone, id) WHERE phone IS NOT NULL;
CREATE INDEX notifications_status ON notifications (tenant_id, status, id);

-- The queue: a delivery by one channel waits for its next attempt until it was sent or given up.
CREATE TABLE notification_deliveries (
    tenant_id       TEXT NOT NULL,
    notification_id TEXT NOT NULL,
    place           INTEGER NOT NULL,
    channel         TEXT NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('queued', 'sent', 'failed')),
    attempts        INTEGER NOT NULL DEFAULT 0,
    provider        TEXT,
    sent_at         INTEGER,
    next_attempt_at INTEGER,
    error           TEXT,
    PRIMARY KEY (tenant_id, notification_id, place),
    FOREIGN KEY (tenant_id, notification_id) REFERENCES notifications (tenant_id, id),
    CHECK ((status = 'queued') = (next_attempt_at IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX notification_deliveries_due ON notification_deliveries (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX notification_deliveries_queued ON notification_deliveries (tenant_id) WHERE next_attempt_at IS NOT NULL;
