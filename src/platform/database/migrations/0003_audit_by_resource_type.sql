-- Entries about one kind of thing are found by index, and so are the kinds that there are.
CREATE INDEX audit_log_resource_type ON audit_log (tenant_id, resource_type, sequence);
