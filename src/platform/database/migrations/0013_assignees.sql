-- An assignee is a user or a role for good once it is written: a user's id and a role's name are told apart.
ALTER TABLE tasks ADD COLUMN assignee_kind TEXT;           -- user or role

UPDATE tasks SET assignee_kind = CASE
    WHEN assignee = 'user-owner' OR EXISTS (SELECT 1 FROM users WHERE users.tenant_id = tasks.tenant_id AND users.id = tasks.assignee) THEN 'user'
    ELSE 'role' END
WHERE assignee IS NOT NULL;

-- Users held names of groups that were no roles. Each becomes a role without permissions, except what is somebody's id.
INSERT INTO roles (id, tenant_id, name, description, permissions, condition, version, created_at)
SELECT 'role-' || lower(hex(randomblob(16))), held.tenant_id, held.name, NULL, '[]', NULL, 1, unixepoch() * 1000
FROM (SELECT DISTINCT users.tenant_id, roles_held.value AS name FROM users, json_each(users.roles) AS roles_held) AS held
WHERE held.name <> 'admin'
  AND NOT EXISTS (SELECT 1 FROM roles WHERE roles.tenant_id = held.tenant_id AND roles.name = held.name)
  AND NOT EXISTS (SELECT 1 FROM users WHERE users.tenant_id = held.tenant_id AND users.id = held.name);
