-- How many lost entries an entry stands for: one that tells of losses stands for all of them, so that its own loss hides none.
ALTER TABLE outbox ADD COLUMN stands_for INTEGER NOT NULL DEFAULT 1;
