-- What a caller logged is told apart from what the platform wrote: 1 claimed, 0 the platform's own. Rows of before have
-- neither; the hash of later ones covers it.
ALTER TABLE audit_log ADD COLUMN claimed INTEGER CHECK (claimed IN (0, 1));

CREATE TRIGGER audit_log_stays_claimed BEFORE UPDATE OF claimed ON audit_log WHEN NEW.claimed IS NOT OLD.claimed
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
