-- Portal Management: portals with their branding and feature flags.
CREATE TABLE portals (
    tenant_id     TEXT NOT NULL,
    id            TEXT NOT NULL,
    name          TEXT NOT NULL,
    logo          TEXT,
    primary_color TEXT,
    custom_domain TEXT,
    features      TEXT NOT NULL,    -- a JSON object: each flag by its name, true or false
    version       INTEGER NOT NULL DEFAULT 1,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;
-- A host name leads to one portal, whichever tenant owns it.
CREATE UNIQUE INDEX portals_domain ON portals (custom_domain) WHERE custom_domain IS NOT NULL;

-- The tree of companies. Moves are checked in their transaction, so that no company is above itself.
CREATE TABLE companies (
    tenant_id       TEXT NOT NULL,
    id              TEXT NOT NULL,
    name            TEXT NOT NULL,
    parent_id       TEXT,
    approval_chains TEXT NOT NULL DEFAULT '[]',    -- a JSON array
    version         INTEGER NOT NULL DEFAULT 1,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, parent_id) REFERENCES companies (tenant_id, id),
    CHECK (parent_id <> id)
) STRICT, WITHOUT ROWID;
CREATE INDEX companies_parent ON companies (tenant_id, parent_id) WHERE parent_id IS NOT NULL;
