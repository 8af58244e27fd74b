-- What the dead letters of each tenant take, so that a tenant's have room whatever others' do.
CREATE TABLE outbox_dead_letters (
    tenant TEXT PRIMARY KEY,
    bytes  INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
INSERT INTO outbox_dead_letters SELECT tenant, sum(bytes) FROM outbox WHERE dead_reason IS NOT NULL GROUP BY tenant;
CREATE INDEX outbox_dead_of_tenant ON outbox (tenant, seq) WHERE dead_reason IS NOT NULL;

CREATE TRIGGER outbox_dead_of_tenant_died AFTER UPDATE OF dead_reason ON outbox
WHEN old.dead_reason IS NULL AND new.dead_reason IS NOT NULL BEGIN
    INSERT INTO outbox_dead_letters VALUES (new.tenant, new.bytes) ON CONFLICT (tenant) DO UPDATE SET bytes = bytes + new.bytes;
END;
CREATE TRIGGER outbox_dead_of_tenant_added AFTER INSERT ON outbox WHEN new.dead_reason IS NOT NULL BEGIN
    INSERT INTO outbox_dead_letters VALUES (new.tenant, new.bytes) ON CONFLICT (tenant) DO UPDATE SET bytes = bytes + new.bytes;
END;
CREATE TRIGGER outbox_dead_of_tenant_resent AFTER UPDATE OF dead_reason ON outbox
WHEN old.dead_reason IS NOT NULL AND new.dead_reason IS NULL BEGIN
    UPDATE outbox_dead_letters SET bytes = bytes - old.bytes WHERE tenant = old.tenant;
    DELETE FROM outbox_dead_letters WHERE tenant = old.tenant AND bytes <= 0;
END;
CREATE TRIGGER outbox_dead_of_tenant_removed AFTER DELETE ON outbox WHEN old.dead_reason IS NOT NULL BEGIN
    UPDATE outbox_dead_letters SET bytes = bytes - old.bytes WHERE tenant = old.tenant;
    DELETE FROM outbox_dead_letters WHERE tenant = old.tenant AND bytes <= 0;
END;
