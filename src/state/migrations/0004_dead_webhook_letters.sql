-- Counts dead letters without reading them.
CREATE INDEX webhook_letters_dead ON webhook_letters (webhook, dead_reason) WHERE dead_reason IS NOT NULL;
