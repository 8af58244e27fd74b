-- Lists in the order of an index, so that a page costs the same whatever lies behind it.

-- Tasks by state; those of an execution or of an assignee in a state have an index already.
CREATE INDEX tasks_status ON tasks (tenant_id, status);

-- Events of one topic by position.
CREATE INDEX events_by_topic ON events (tenant_id, topic);

-- Entries of the audit log by when it happened: all of them, and those of one actor, action, thing or kind of thing.
CREATE INDEX audit_log_time ON audit_log (tenant_id, timestamp, sequence);
DROP INDEX audit_log_actor;
CREATE INDEX audit_log_actor ON audit_log (tenant_id, actor, timestamp, sequence);
DROP INDEX audit_log_action;
CREATE INDEX audit_log_action ON audit_log (tenant_id, action, timestamp, sequence);
DROP INDEX audit_log_resource;
CREATE INDEX audit_log_resource ON audit_log (tenant_id, resource_id, timestamp, sequence);
DROP INDEX audit_log_resource_type;
CREATE INDEX audit_log_resource_type ON audit_log (tenant_id, resource_type, timestamp, sequence);

-- Conversations of a channel, newest first.
CREATE INDEX conversations_by_channel ON conversations (tenant_id, channel_id, id);

-- How many events of a subscription are dead letters.
ALTER TABLE subscriptions ADD COLUMN given_up INTEGER NOT NULL DEFAULT 0;
UPDATE subscriptions SET given_up = (SELECT count(*) FROM dead_letters WHERE dead_letters.subscription_id = subscriptions.id);
CREATE TRIGGER dead_letters_added AFTER INSERT ON dead_letters BEGIN
    UPDATE subscriptions SET given_up = given_up + 1 WHERE id = new.subscription_id;
END;
CREATE TRIGGER dead_letters_removed AFTER DELETE ON dead_letters BEGIN
    UPDATE subscriptions SET given_up = given_up - 1 WHERE id = old.subscription_id;
END;

-- What a caller's own id of an entry was, so that an entry that is sent twice is recorded once.
ALTER TABLE audit_log ADD COLUMN claim_id TEXT;
CREATE UNIQUE INDEX audit_log_claim ON audit_log (tenant_id, claim_id) WHERE claim_id IS NOT NULL;
