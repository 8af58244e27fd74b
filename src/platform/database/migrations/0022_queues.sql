-- Queues are read tenant by tenant, by the time that a tenant's jobs are due. The indexes count what a tenant has waiting as well.
DROP INDEX notification_deliveries_queued;
CREATE INDEX notification_deliveries_queued ON notification_deliveries (tenant_id, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
DROP INDEX conversation_messages_queued;
CREATE INDEX conversation_messages_queued ON conversation_messages (tenant_id, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
DROP INDEX integration_calls_queued;
CREATE INDEX integration_calls_queued ON integration_calls (tenant_id, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
DROP INDEX retraining_jobs_open;
CREATE INDEX retraining_jobs_open ON retraining_jobs (tenant_id, scheduled_at) WHERE status IN ('pending', 'running');
CREATE INDEX ingest_runs_open ON ingest_runs (tenant_id, due_at) WHERE status IN ('pending', 'running');
CREATE INDEX node_work_queued ON node_work (kind, tenant_id, next_attempt_at);
