-- The values of records in order, so that a page of a list that is filtered or sorted by a declared field costs the same
-- whatever lies behind it.

-- The fields whose values are kept: the first that the schema of a type declares, nested ones aside.
CREATE TABLE entity_fields (
    id        INTEGER PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    type      TEXT NOT NULL,
    path      TEXT NOT NULL,    -- where it lies in the data of a record
    state     TEXT NOT NULL CHECK (state IN ('filling', 'ready', 'going')),
    -- While older records are read, newest first: those before this one are still to be.
    before_at     INTEGER NOT NULL DEFAULT 9223372036854775807,
    before_number INTEGER NOT NULL DEFAULT 9223372036854775807
) STRICT;
CREATE INDEX entity_fields_of_type ON entity_fields (tenant_id, type, path);
CREATE INDEX entity_fields_under_way ON entity_fields (id) WHERE state <> 'ready';

-- `class` is 0 for nothing, 1 for a number or a boolean, 2 for a text, and 3 for one that is too long to be kept here.
CREATE TABLE entity_keys (
    field  INTEGER NOT NULL,
    class  INTEGER NOT NULL,
    value  ANY NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (field, class, value, number)
) STRICT, WITHOUT ROWID;

-- Whether the records of a type are as old as their numbers say; they are unless the clock was put back.
ALTER TABLE entity_types ADD COLUMN is_ordered INTEGER NOT NULL DEFAULT 1;
UPDATE entity_types SET is_ordered = 0 WHERE (tenant_id, name) IN (
    SELECT tenant_id, type FROM (
        SELECT tenant_id, type, created_at, lag(created_at) OVER (PARTITION BY tenant_id, type ORDER BY number) AS before FROM entities
    ) WHERE created_at < before
);
CREATE TRIGGER entities_out_of_order AFTER INSERT ON entities
WHEN EXISTS (SELECT 1 FROM entities WHERE tenant_id = new.tenant_id AND type = new.type AND created_at > new.created_at)
BEGIN
    UPDATE entity_types SET is_ordered = 0 WHERE tenant_id = new.tenant_id AND name = new.type;
END;

-- The keys follow the records, whoever writes these. `value` comes first where rows are compared: the column has no type of
-- its own, and SQLite would not look for it in the index behind one that has.
CREATE TRIGGER entity_keys_added AFTER INSERT ON entities BEGIN
    INSERT OR IGNORE INTO entity_keys (value, field, class, number)
    SELECT CASE WHEN v IS NULL THEN 0 WHEN is_long THEN '' ELSE v END, id,
        CASE WHEN v IS NULL THEN 0 WHEN typeof(v) <> 'text' THEN 1 WHEN is_long THEN 3 ELSE 2 END, new.number
    FROM (
        SELECT id, v, typeof(v) = 'text' AND octet_length(v) > 200 AS is_long
        FROM (SELECT id, json_extract(new.data, path) AS v FROM entity_fields
              WHERE tenant_id = new.tenant_id AND type = new.type AND state <> 'going')
    );
END;

CREATE TRIGGER entity_keys_changed AFTER UPDATE OF data ON entities WHEN old.data <> new.data BEGIN
    DELETE FROM entity_keys WHERE (value, field, class, number) IN (
        SELECT CASE WHEN v IS NULL THEN 0 WHEN is_long THEN '' ELSE v END, id,
            CASE WHEN v IS NULL THEN 0 WHEN typeof(v) <> 'text' THEN 1 WHEN is_long THEN 3 ELSE 2 END, old.number
        FROM (
            SELECT id, v, typeof(v) = 'text' AND octet_length(v) > 200 AS is_long
            FROM (SELECT id, json_extract(old.data, path) AS v FROM entity_fields WHERE tenant_id = old.tenant_id AND type = old.type)
        )
    );
    INSERT OR IGNORE INTO entity_keys (value, field, class, number)
    SELECT CASE WHEN v IS NULL THEN 0 WHEN is_long THEN '' ELSE v END, id,
        CASE WHEN v IS NULL THEN 0 WHEN typeof(v) <> 'text' THEN 1 WHEN is_long THEN 3 ELSE 2 END, new.number
    FROM (
        SELECT id, v, typeof(v) = 'text' AND octet_length(v) > 200 AS is_long
        FROM (SELECT id, json_extract(new.data, path) AS v FROM entity_fields
              WHERE tenant_id = new.tenant_id AND type = new.type AND state <> 'going')
    );
END;

CREATE TRIGGER entity_keys_removed AFTER DELETE ON entities BEGIN
    DELETE FROM entity_keys WHERE (value, field, class, number) IN (
        SELECT CASE WHEN v IS NULL THEN 0 WHEN is_long THEN '' ELSE v END, id,
            CASE WHEN v IS NULL THEN 0 WHEN typeof(v) <> 'text' THEN 1 WHEN is_long THEN 3 ELSE 2 END, old.number
        FROM (
            SELECT id, v, typeof(v) = 'text' AND octet_length(v) > 200 AS is_long
            FROM (SELECT id, json_extract(old.data, path) AS v FROM entity_fields WHERE tenant_id = old.tenant_id AND type = old.type)
        )
    );
END;

-- The records that there are become keys after the start, some at a time.
INSERT INTO entity_fields (tenant_id, type, path, state)
SELECT tenant_id, name, field.value, 'filling'
FROM entity_types, json_each(declared_fields(schema)) AS field WHERE schema IS NOT NULL;
