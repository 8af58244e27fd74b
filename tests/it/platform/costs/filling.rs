//! Fills the tables behind the lists: copies of what a company has, which nothing is due of.

use rusqlite::Connection;

/// A table, the columns that a copy has of its own, and what is copied. `n` counts the copies, which begin behind a base.
const COPIES: [(&str, &str, &str); 30] = [
    ("executions", "id = id || '~' || n, due_at = NULL", "1"),
    ("execution_history", "sequence = BASE + n", "execution_id = (SELECT min(execution_id) FROM execution_history)"),
    ("tasks", "id = id || '~' || n, alarm_at = NULL", "1"),
    ("task_history", "sequence = BASE + n", "task_id = (SELECT min(task_id) FROM task_history)"),
    ("entities", "number = BASE + n, id = id || '~' || n", "type <> 'ledger'"),
    ("processes", "id = id || '~' || n", "1"),
    ("process_versions", "process_id = process_id || '~' || n", "ordinal = 1"),
    ("process_list", "number = BASE + n, process_id = process_id || '~' || n", "ordinal = 1"),
    (
        "process_versions",
        "ordinal = BASE + n, version = version || '~' || n",
        "process_id = (SELECT min(process_id) FROM process_versions)",
    ),
    ("prompts", "id = id || '~' || n", "1"),
    ("prompt_versions", "prompt_id = prompt_id || '~' || n", "ordinal = 1"),
    ("prompt_versions", "ordinal = BASE + n, version = version || '~' || n", "prompt_id = (SELECT min(prompt_id) FROM prompt_versions)"),
    ("feedback", "id = id || '~' || n", "1"),
    ("datasets", "id = id || '~' || n", "1"),
    ("dataset_lines", "place = BASE + n", "dataset_id = (SELECT min(dataset_id) FROM dataset_lines)"),
    ("documents", "number = BASE + n, id = id || '~' || n", "1"),
    ("integrations", "id = id || '~' || n", "1"),
    ("channels", "id = id || '~' || n", "1"),
    ("portals", "id = id || '~' || n, custom_domain = NULL", "1"),
    ("companies", "id = id || '~' || n", "1"),
    ("roles", "id = id || '~' || n, name = name || '~' || n", "1"),
    ("users", "id = id || '~' || n, username = username || '~' || n", "1"),
    ("notifications", "id = id || '~' || n", "1"),
    ("notification_templates", "id = id || '~' || n", "1"),
    ("schedules", "id = id || '~' || n, due_at = NULL", "1"),
    ("schedule_fires", "id = id || '~' || n, planned_at = planned_at + n", "1"),
    ("discovered_schemas", "id = id || '~' || n, shape = shape || '~' || n", "1"),
    ("entity_types", "name = name || '~' || n", "1"),
    ("audit_log", "sequence = BASE + n, id = id || '~' || n", "1"),
    ("events", "position = BASE + n, sequence = BASE + n, id = id || '~' || n", "1"),
];

/// What a company has none of, among it many tasks that ended in time.
const OTHERS: &str = "
    INSERT INTO tasks (tenant_id, id, title, status, assignee, assignee_kind, chain, sla_deadline, created_at, ended_at)
    SELECT tenant_id, id || '~ended' || n, 'Ended', 'completed', 'user-owner', 'user', '[]', n + 10, n, n + 5
    FROM numbers CROSS JOIN (SELECT tenant_id, min(id) AS id FROM tasks);
    INSERT INTO conversations (tenant_id, id, channel_id, participant, created_at, updated_at)
    SELECT tenant_id, 'conv-' || n, channel_id, 'person-' || n, n, n
    FROM numbers CROSS JOIN (SELECT tenant_id, min(id) AS channel_id FROM channels);
    INSERT INTO conversation_messages (tenant_id, id, conversation_id, channel_id, direction, sender, recipient, body, status, created_at)
    SELECT tenant_id, 'msg-' || n, 'conv-1', channel_id, 'inbound', 'a', 'b', 'c', 'received', n
    FROM numbers CROSS JOIN (SELECT tenant_id, min(id) AS channel_id FROM channels);
    INSERT INTO dead_letters (subscription_id, position, tenant_id, attempts, reason, failed_at)
    SELECT subscriptions.id, BASE + n, tenant_id, 6, 'it did not answer', n FROM numbers CROSS JOIN subscriptions;
    INSERT INTO entity_words (rowid, words) SELECT BASE + n, 'number' || n FROM numbers;
    INSERT INTO entities (number, tenant_id, id, type, data, version, created_at, updated_at)
    SELECT BASE * 10 + n, tenant_id, id || '~' || n, type,
        json_object('name', 'name' || n, 'amount', n % 1000, 'state', iif(n % 3, 'open', 'closed')), 1, created_at + n, updated_at + n
    FROM numbers CROSS JOIN (SELECT * FROM entities WHERE type = 'ledger' AND instr(id, '~') = 0);
    INSERT INTO process_words (rowid, scope, words)
    SELECT number, hex(tenant_id) || ' ' || status, lower(name) FROM process_list JOIN numbers ON number = BASE + n;
";

/// Adds copies up to a count, from the one after those that there are.
pub fn fill(connection: &Connection, present: usize, wanted: usize) {
    // What the platform numbers by itself after one filling does not stand in the next one's way.
    let base = if present == 0 { "1000000" } else { "2000000" };
    connection
        .execute_batch(&format!(
            "PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF; BEGIN;
             CREATE TEMP TABLE numbers AS
             WITH RECURSIVE counter (n) AS (SELECT {present} + 1 UNION ALL SELECT n + 1 FROM counter WHERE n < {wanted}) SELECT n FROM counter;"
        ))
        .unwrap();
    for (table, own, which) in COPIES {
        let own = own.replace("BASE", base);
        let own: Vec<(&str, &str)> = own.split(", ").map(|change| change.split_once(" = ").unwrap()).collect();
        let mut info = connection.prepare(&format!("SELECT name FROM pragma_table_info('{table}')")).unwrap();
        let columns: Vec<String> = info.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let values: Vec<&str> =
            columns.iter().map(|column| own.iter().find(|(name, _)| name == column).map_or(column.as_str(), |(_, value)| value)).collect();
        let key = columns.iter().find(|column| ["id", "process_id", "prompt_id", "name"].contains(&column.as_str())).unwrap_or(&columns[0]);
        let originals = format!(
            "CREATE TEMP TABLE originals AS
             SELECT *, row_number() OVER (ORDER BY {key}) - 1 AS original FROM {table} WHERE {which} AND instr({key}, '~') = 0 LIMIT 8"
        );
        connection.execute_batch(&originals).unwrap_or_else(|error| panic!("{originals}: {error}"));
        let sql = format!(
            "INSERT INTO {table} ({}) SELECT {} FROM numbers JOIN originals ON original = n % (SELECT count(*) FROM originals)",
            columns.join(", "),
            values.join(", "),
        );
        let made = connection.execute(&sql, []).unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(made, wanted - present, "{sql}");
        connection.execute_batch("DROP TABLE originals").unwrap();
    }
    connection.execute_batch(&OTHERS.replace("BASE", base)).unwrap();
    connection.execute_batch("COMMIT; DROP TABLE numbers;").unwrap();
}
