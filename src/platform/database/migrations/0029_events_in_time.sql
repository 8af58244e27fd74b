-- The latest time of a topic's events up to each, which rises with the position whatever times they have: it leads from a time to
-- the positions that a replay reads. Events that are published late have an index of their own.
ALTER TABLE events ADD COLUMN latest INTEGER NOT NULL DEFAULT 0;

DROP TRIGGER events_are_never_changed;
UPDATE events SET latest = so_far.latest FROM (
    SELECT position, max(time) OVER (PARTITION BY tenant_id, topic ORDER BY sequence) AS latest FROM events
) AS so_far WHERE so_far.position = events.position;
CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
WHEN NOT EXISTS (SELECT 1 FROM audit_deletions WHERE tenant_id = OLD.tenant_id AND status = 'erasing')
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

CREATE INDEX events_late ON events (tenant_id, topic, position) WHERE time < latest;
