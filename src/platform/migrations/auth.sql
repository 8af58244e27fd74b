-- Users of a tenant. `failures` counts attempts to sign in since the last success; the fifth locks the account.
CREATE TABLE users (
    id            TEXT NOT NULL PRIMARY KEY,
    tenant_id     TEXT NOT NULL,
    username      TEXT NOT NULL,            -- lower case
    password_hash TEXT NOT NULL,            -- argon2id, PHC format
    permissions   TEXT NOT NULL,            -- granted directly: a JSON array
    roles         TEXT NOT NULL,            -- role names: a JSON array
    status        TEXT NOT NULL DEFAULT 'active',
    failures      INTEGER NOT NULL DEFAULT 0,
    locked_until  INTEGER,
    created_at    INTEGER NOT NULL,
    UNIQUE (tenant_id, username)
) STRICT;

CREATE TABLE roles (
    id          TEXT NOT NULL PRIMARY KEY,
    tenant_id   TEXT NOT NULL,
    name        TEXT NOT NULL,
    description TEXT,
    permissions TEXT NOT NULL,              -- a JSON array
    condition   TEXT,                       -- CEL over user, resource and env
    version     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    UNIQUE (tenant_id, name)
) STRICT;

-- A login: a family of refresh tokens, of which one is good at a time.
CREATE TABLE sessions (
    id         TEXT NOT NULL PRIMARY KEY,
    tenant_id  TEXT NOT NULL,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;
CREATE INDEX sessions_age ON sessions (expires_at);
CREATE INDEX sessions_user ON sessions (user_id);

CREATE TABLE refresh_tokens (
    digest     TEXT NOT NULL PRIMARY KEY,   -- SHA-256; the token itself is not kept
    tenant_id  TEXT NOT NULL,
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER
) WITHOUT ROWID, STRICT;
CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);

-- Tokens of services that call for themselves or on behalf of users.
CREATE TABLE service_tokens (
    id          TEXT NOT NULL PRIMARY KEY,  -- the token's jti
    tenant_id   TEXT NOT NULL,
    name        TEXT NOT NULL,
    permissions TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    revoked_at  INTEGER
) STRICT;
