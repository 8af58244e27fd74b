-- Requests to delete personal data reach everything that is kept of a person, step by step, and go on after a restart.
ALTER TABLE audit_deletions ADD COLUMN names TEXT;                          -- what the person goes by: a JSON array, until it is done
ALTER TABLE audit_deletions ADD COLUMN pseudonym TEXT;
ALTER TABLE audit_deletions ADD COLUMN step INTEGER NOT NULL DEFAULT 0;     -- how many kinds of things are done
ALTER TABLE audit_deletions ADD COLUMN place TEXT;                          -- the last row of the present kind that was looked at
ALTER TABLE audit_deletions ADD COLUMN counts TEXT NOT NULL DEFAULT '{}';   -- what was erased, by kind
ALTER TABLE audit_deletions ADD COLUMN completed_at INTEGER;

-- Texts of a row that a pseudonym stands in: the folder key's signature of each.
ALTER TABLE audit_log ADD COLUMN replaced TEXT;
DROP INDEX audit_log_details;
CREATE INDEX audit_log_details ON audit_log (recorded_at) WHERE (changes_salt IS NOT NULL OR changes IS NOT NULL) AND critical = 0;

DROP TRIGGER audit_log_is_never_changed;
CREATE TRIGGER audit_log_is_never_changed BEFORE UPDATE ON audit_log
WHEN NOT (
    NEW.tenant_id = OLD.tenant_id AND NEW.sequence = OLD.sequence AND NEW.id = OLD.id
    AND NEW.timestamp = OLD.timestamp AND NEW.recorded_at = OLD.recorded_at
    AND NEW.action = OLD.action AND NEW.critical = OLD.critical AND NEW.resource_type = OLD.resource_type
    AND NEW.request_id IS OLD.request_id AND NEW.claimed IS OLD.claimed
    AND NEW.actor_digest = OLD.actor_digest AND NEW.recorded_by_digest = OLD.recorded_by_digest
    AND NEW.resource_id_digest = OLD.resource_id_digest AND NEW.changes_digest = OLD.changes_digest
    AND NEW.previous_hash = OLD.previous_hash AND NEW.hash = OLD.hash
    AND (
        -- Details of a row that is no longer kept in full.
        NEW.actor IS OLD.actor AND NEW.actor_salt IS OLD.actor_salt
        AND NEW.recorded_by IS OLD.recorded_by AND NEW.recorded_by_salt IS OLD.recorded_by_salt
        AND NEW.resource_id IS OLD.resource_id AND NEW.resource_id_salt IS OLD.resource_id_salt
        AND NEW.changes IS NULL AND NEW.changes_salt IS NULL AND NEW.replaced IS OLD.replaced
        AND NEW.critical = 0 AND NEW.erased_by = coalesce(OLD.erased_by, 'retention')
        OR
        -- What names a person, in the course of a deletion request: with its salt goes the proof of what stood there.
        (NEW.actor IS OLD.actor AND NEW.actor_salt IS OLD.actor_salt OR NEW.actor_salt IS NULL)
        AND (NEW.recorded_by IS OLD.recorded_by AND NEW.recorded_by_salt IS OLD.recorded_by_salt OR NEW.recorded_by_salt IS NULL)
        AND (NEW.resource_id IS OLD.resource_id AND NEW.resource_id_salt IS OLD.resource_id_salt OR NEW.resource_id_salt IS NULL)
        AND (NEW.changes IS OLD.changes AND NEW.changes_salt IS OLD.changes_salt OR NEW.changes_salt IS NULL)
        AND EXISTS (
            SELECT 1 FROM audit_deletions
            WHERE id = NEW.erased_by AND tenant_id = NEW.tenant_id AND status = 'erasing'
        )
    )
)
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;

-- What never changes otherwise may lose the person in it while a deletion request of the tenant is carried out.
DROP TRIGGER execution_history_kept;
CREATE TRIGGER execution_history_kept BEFORE UPDATE ON execution_history
WHEN NOT EXISTS (SELECT 1 FROM audit_deletions WHERE tenant_id = OLD.tenant_id AND status = 'erasing')
BEGIN SELECT RAISE(ABORT, 'the history of an execution never changes'); END;
DROP TRIGGER task_history_kept;
CREATE TRIGGER task_history_kept BEFORE UPDATE ON task_history
WHEN NOT EXISTS (SELECT 1 FROM audit_deletions WHERE tenant_id = OLD.tenant_id AND status = 'erasing')
BEGIN SELECT RAISE(ABORT, 'the history of a task never changes'); END;
DROP TRIGGER events_are_never_changed;
CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
WHEN NOT EXISTS (SELECT 1 FROM audit_deletions WHERE tenant_id = OLD.tenant_id AND status = 'erasing')
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
DROP TRIGGER process_versions_published;
CREATE TRIGGER process_versions_published BEFORE UPDATE ON process_versions WHEN OLD.status = 'published'
    AND NOT EXISTS (SELECT 1 FROM audit_deletions WHERE tenant_id = OLD.tenant_id AND status = 'erasing')
BEGIN SELECT RAISE(ABORT, 'a published version never changes'); END;
DROP TRIGGER prompt_versions_published;
CREATE TRIGGER prompt_versions_published BEFORE UPDATE ON prompt_versions WHEN OLD.status = 'published'
    AND NOT EXISTS (SELECT 1 FROM audit_deletions WHERE tenant_id = OLD.tenant_id AND status = 'erasing')
BEGIN SELECT RAISE(ABORT, 'a published version never changes'); END;
DROP TRIGGER datasets_kept;
CREATE TRIGGER datasets_kept BEFORE UPDATE ON datasets
WHEN NOT EXISTS (SELECT 1 FROM audit_deletions WHERE tenant_id = OLD.tenant_id AND status = 'erasing')
BEGIN SELECT RAISE(ABORT, 'a dataset never changes'); END;
DROP TRIGGER dataset_lines_kept;
CREATE TRIGGER dataset_lines_kept BEFORE UPDATE ON dataset_lines
WHEN NOT EXISTS (SELECT 1 FROM audit_deletions WHERE tenant_id = OLD.tenant_id AND status = 'erasing')
BEGIN SELECT RAISE(ABORT, 'a dataset never changes'); END;
