-- Service Registry: the instances that services announced. An instance is removed when its lease has run out.
CREATE TABLE service_instances (
    tenant_id         TEXT NOT NULL,
    instance_id       TEXT NOT NULL,
    service_name      TEXT NOT NULL,
    host              TEXT NOT NULL,
    port              INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
    version           TEXT,
    metadata          TEXT NOT NULL,    -- a JSON object
    health            INTEGER NOT NULL CHECK (health BETWEEN 0 AND 2), -- 0 healthy, 1 degraded, 2 unhealthy: the order of discovery
    registered_at     INTEGER NOT NULL,
    last_heartbeat_at INTEGER NOT NULL,
    expires_at        INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, instance_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX service_instances_by_name ON service_instances (tenant_id, service_name, instance_id);
CREATE INDEX service_instances_expiry ON service_instances (expires_at);
