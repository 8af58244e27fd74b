-- Tasks by how they keep their deadline, in the order of their ids: those that are open, whose deadlines pass, and those that
-- ended, before their deadline (0) or after it (1).
CREATE INDEX tasks_open_deadline ON tasks (tenant_id, status) WHERE ended_at IS NULL AND sla_deadline IS NOT NULL;
CREATE INDEX tasks_past_deadline ON tasks (tenant_id, status, sla_deadline <= ended_at)
    WHERE ended_at IS NOT NULL AND sla_deadline IS NOT NULL;
CREATE INDEX tasks_past_deadline_of ON tasks (tenant_id, assignee, status, sla_deadline <= ended_at)
    WHERE ended_at IS NOT NULL AND sla_deadline IS NOT NULL;
