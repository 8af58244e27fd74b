-- Analytics: what the event log tells, added up by hour, day and month; and what people defined over it.

-- How far the log was added up, and by which rules: other rules begin again.
CREATE TABLE metric_progress (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    rules    INTEGER NOT NULL,
    position INTEGER NOT NULL
) STRICT;

-- The values of a metric in one hour, day or month (UTC): of all, with the dimension '', and of each value of a dimension.
CREATE TABLE metric_cells (
    tenant_id TEXT NOT NULL,
    metric    TEXT NOT NULL,
    dimension TEXT NOT NULL,
    level     TEXT NOT NULL CHECK (level IN ('hour', 'day', 'month')),
    start     INTEGER NOT NULL,
    value     TEXT NOT NULL,
    count     INTEGER NOT NULL,
    sum       REAL NOT NULL,
    min       REAL NOT NULL,
    max       REAL NOT NULL,
    sketch    TEXT NOT NULL, -- how many values lie in each range of a logarithmic scale: {"range": count}
    PRIMARY KEY (tenant_id, metric, dimension, level, start, value)
) STRICT, WITHOUT ROWID;

-- Who was active in an hour, day or month, as a keyed digest: people are counted here, not named.
CREATE TABLE metric_users (
    tenant_id TEXT NOT NULL,
    level     TEXT NOT NULL CHECK (level IN ('hour', 'day', 'month')),
    start     INTEGER NOT NULL,
    user_tag  BLOB NOT NULL,
    PRIMARY KEY (tenant_id, level, start, user_tag)
) STRICT, WITHOUT ROWID;

CREATE TABLE dashboards (
    tenant_id  TEXT NOT NULL,
    id         TEXT NOT NULL,
    name       TEXT NOT NULL,
    widgets    TEXT NOT NULL, -- a JSON array
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE kpis (
    tenant_id  TEXT NOT NULL,
    name       TEXT NOT NULL,
    definition TEXT NOT NULL, -- a JSON object
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE analytics_reports (
    tenant_id  TEXT NOT NULL,
    id         TEXT NOT NULL,
    report     TEXT NOT NULL, -- a JSON object, as it was answered
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;
