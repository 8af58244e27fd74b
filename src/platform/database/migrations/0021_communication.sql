-- Communication Service: channels with their sealed credentials, conversations, and messages, of which some wait to be sent.
CREATE TABLE channels (
    tenant_id  TEXT NOT NULL,
    id         TEXT NOT NULL,
    kind       TEXT NOT NULL,
    name       TEXT,
    account    TEXT,
    base_url   TEXT NOT NULL,
    status     TEXT NOT NULL CHECK (status IN ('active', 'failing')),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;
-- A provider names its channel and no tenant.
CREATE UNIQUE INDEX channels_by_id ON channels (id);

CREATE TABLE channel_secrets (
    tenant_id  TEXT NOT NULL,
    channel_id TEXT NOT NULL,
    name       TEXT NOT NULL,
    sealed     BLOB NOT NULL,
    PRIMARY KEY (tenant_id, channel_id, name),
    FOREIGN KEY (tenant_id, channel_id) REFERENCES channels (tenant_id, id)
) STRICT, WITHOUT ROWID;

-- The kind of channel that a person wants to be written to.
CREATE TABLE channel_preferences (
    tenant_id   TEXT NOT NULL,
    participant TEXT NOT NULL,
    kind        TEXT NOT NULL,
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, participant)
) STRICT, WITHOUT ROWID;

CREATE TABLE conversations (
    tenant_id    TEXT NOT NULL,
    id           TEXT NOT NULL,
    channel_id   TEXT NOT NULL,
    participant  TEXT NOT NULL,
    execution_id TEXT,
    task_id      TEXT,
    data         TEXT NOT NULL DEFAULT '{}', -- a JSON object
    version      INTEGER NOT NULL DEFAULT 1,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, channel_id) REFERENCES channels (tenant_id, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX conversations_of ON conversations (tenant_id, channel_id, participant);
CREATE INDEX conversations_with ON conversations (tenant_id, participant);

CREATE TABLE conversation_messages (
    position        INTEGER PRIMARY KEY,
    tenant_id       TEXT NOT NULL,
    id              TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    channel_id      TEXT NOT NULL,
    direction       TEXT NOT NULL CHECK (direction IN ('inbound', 'outbound')),
    sender          TEXT NOT NULL,
    recipient       TEXT NOT NULL,
    body            TEXT NOT NULL,
    data            TEXT,                    -- other fields of the provider: a JSON object
    status          TEXT NOT NULL CHECK (status IN ('queued', 'sent', 'delivered', 'read', 'failed', 'received')),
    external_id     TEXT,                    -- the provider's id of an inbound message
    webhook_id      TEXT,                    -- the id of the delivery that it came by
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER,                 -- while an attempt is under way, the time from which it counts as lost
    error           TEXT,
    sent_at         INTEGER,
    read_at         INTEGER,
    created_at      INTEGER NOT NULL,
    FOREIGN KEY (tenant_id, conversation_id) REFERENCES conversations (tenant_id, id),
    CHECK ((status = 'queued') = (next_attempt_at IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX conversation_messages_by_id ON conversation_messages (tenant_id, id);
CREATE INDEX conversation_messages_of ON conversation_messages (tenant_id, conversation_id, position);
CREATE UNIQUE INDEX conversation_messages_once ON conversation_messages (tenant_id, channel_id, external_id) WHERE external_id IS NOT NULL;
CREATE UNIQUE INDEX conversation_messages_delivery ON conversation_messages (tenant_id, channel_id, webhook_id) WHERE webhook_id IS NOT NULL;
CREATE INDEX conversation_messages_due ON conversation_messages (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX conversation_messages_queued ON conversation_messages (tenant_id) WHERE next_attempt_at IS NOT NULL;
