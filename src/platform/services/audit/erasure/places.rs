//! Where a person may be: the tables, which of their columns hold what, and how a row is read and written without the person.

use std::collections::BTreeSet;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Row, params_from_iter};

use super::person::{About, Person};
use crate::error::Result;
use crate::platform::Platform;
use crate::platform::database::Tx;
use crate::platform::services::{communication, documents, entities, learning, notifications, processes};

/// How many rows are looked at in one step.
pub(in crate::platform::services::audit) const STEP_ROWS: usize = 500;

/// What a column holds.
#[derive(Debug, Clone, Copy)]
enum Column {
    /// One person, or somebody else.
    Person(&'static str),
    /// A text that may name people.
    Text(&'static str),
    /// JSON.
    Json(&'static str, About),
    /// A text file, as bytes.
    File(&'static str),
}

/// What else there is to do for a row that had the person in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Nothing,
    /// The words of a record are indexed again.
    Record,
    /// The words of a process's name are indexed again.
    Process,
    /// The words of a document are indexed again, and its file goes.
    Document,
    /// The digest of the dataset is that of its lines.
    Dataset,
    /// What was written to and by the person goes, and what waits to be sent is not sent any more.
    Conversation,
    /// The message goes as a whole, with the file of its e-mail.
    Notification,
    /// The trail has a way of its own: what stood there is proved by salted digests.
    Trail,
}

/// One kind of things.
#[derive(Debug, Clone, Copy)]
pub(in crate::platform::services::audit) struct Place {
    /// The kind as counts name it.
    pub(in crate::platform::services::audit) kind: &'static str,
    table: &'static str,
    key: &'static [&'static str],
    columns: &'static [Column],
    then: Then,
}

use About::{Record, Things};
use Column::{File, Json, Person as Who, Text};

const fn place(kind: &'static str, table: &'static str, key: &'static [&'static str], columns: &'static [Column], then: Then) -> Place {
    Place { kind, table, key, columns, then }
}

/// All places, in the order in which they are gone through; the trail is last, since what is done here ends in it.
pub(in crate::platform::services::audit) const PLACES: &[Place] = &[
    place("records", "entities", &["number"], &[Json("data", Record)], Then::Record),
    place("executions", "executions", &["id"], &[Who("initiator"), Json("state", Things(2))], Then::Nothing),
    place("executions", "execution_history", &["execution_id", "sequence"], &[Who("actor"), Json("data", Things(2))], Then::Nothing),
    place("executions", "execution_undo", &["execution_id", "sequence"], &[Json("facts", Things(2))], Then::Nothing),
    place(
        "tasks",
        "tasks",
        &["id"],
        &[
            Who("assignee"),
            Text("title"),
            Text("description"),
            Json("form", Things(0)),
            Json("chain", Things(0)),
            Json("response", Things(0)),
        ],
        Then::Nothing,
    ),
    place("tasks", "task_candidates", &["task_id", "place"], &[Who("assignee")], Then::Nothing),
    place("tasks", "task_history", &["task_id", "sequence"], &[Who("actor"), Json("data", Things(1))], Then::Nothing),
    place("events", "events", &["position"], &[Who("subject"), Text("source"), Json("data", Things(1))], Then::Nothing),
    place("documents", "documents", &["number"], &[Text("text"), Json("extracted", Record), Json("metadata", Record)], Then::Document),
    place(
        "feedback",
        "feedback",
        &["id"],
        &[Who("submitted_by"), Text("expected_output"), Text("actual_output"), Text("notes")],
        Then::Nothing,
    ),
    place("datasets", "dataset_lines", &["dataset_id", "place"], &[Json("line", Things(0))], Then::Dataset),
    place("datasets", "datasets", &["id"], &[Who("created_by"), Text("name")], Then::Nothing),
    place(
        "datasets",
        "retraining_jobs",
        &["id"],
        &[Who("created_by"), Text("error"), Json("metrics", Things(0)), Json("artifact", Things(0))],
        Then::Nothing,
    ),
    place(
        "notifications",
        "notifications",
        &["id"],
        &[Who("email"), Who("user_id"), Who("phone"), Text("subject"), Text("body"), Json("variables", Things(0))],
        Then::Notification,
    ),
    // Before their conversations: with a conversation all of its messages go, and none would be counted any more.
    place(
        "messages",
        "conversation_messages",
        &["position"],
        &[Who("sender"), Who("recipient"), Text("body"), Json("data", Things(0)), Text("error")],
        Then::Nothing,
    ),
    place("messages", "conversations", &["id"], &[Who("participant"), Json("data", Things(0))], Then::Conversation),
    place("messages", "channel_preferences", &["participant"], &[Who("participant")], Then::Nothing),
    place("approvals", "companies", &["id"], &[Text("name"), Json("approval_chains", Things(1))], Then::Nothing),
    place("schedules", "schedules", &["id"], &[Who("runs_as"), Json("variables", Things(0))], Then::Nothing),
    place("executions", "node_work", &["id"], &[Who("actor"), Json("request", Things(0))], Then::Nothing),
    place(
        "integrations",
        "integration_calls",
        &["id"],
        &[Who("actor"), Who("recorded_by"), Text("path"), Json("request", Things(0)), Text("error")],
        Then::Nothing,
    ),
    place("agents", "agents", &["id"], &[Who("created_by"), Json("profile", Things(1))], Then::Nothing),
    place("agents", "agent_calls", &["id"], &[Who("subject")], Then::Nothing),
    place("imports", "ingest_jobs", &["id"], &[Who("runs_as"), File("content")], Then::Nothing),
    place("imports", "ingest_runs", &["job_id", "id"], &[Who("runs_as"), Text("error")], Then::Nothing),
    place("imports", "ingest_keys", &["entity_type", "key_field", "key"], &[Who("key")], Then::Nothing),
    place("imports", "ingest_dead_letters", &["job_id", "place"], &[Text("reason"), Text("row")], Then::Nothing),
    place("definitions", "processes", &["id"], &[Who("created_by")], Then::Nothing),
    place(
        "definitions",
        "process_versions",
        &["process_id", "ordinal"],
        &[Who("created_by"), Text("name"), Json("definition", Things(2)), Json("metadata", Things(0))],
        Then::Nothing,
    ),
    place("definitions", "process_list", &["number"], &[Text("name")], Then::Process),
    place("definitions", "prompts", &["id"], &[Who("created_by")], Then::Nothing),
    place(
        "definitions",
        "prompt_versions",
        &["prompt_id", "ordinal"],
        &[Who("created_by"), Text("name"), Json("content", Things(1))],
        Then::Nothing,
    ),
    place("definitions", "dashboards", &["id"], &[Who("created_by"), Json("widgets", Things(1))], Then::Nothing),
    place("definitions", "kpis", &["name"], &[Who("created_by"), Json("definition", Things(0))], Then::Nothing),
    place("definitions", "analytics_reports", &["id"], &[Who("created_by"), Json("report", Things(1))], Then::Nothing),
    place("definitions", "subscriptions", &["id"], &[Who("created_by")], Then::Nothing),
    place(
        "entries",
        "audit_log",
        &["sequence"],
        &[Who("actor"), Who("recorded_by"), Who("resource_id"), Json("changes", Things(1))],
        Then::Trail,
    ),
];

/// A row that has the person in it.
#[derive(Debug)]
pub(in crate::platform::services::audit) struct Hit {
    key: Vec<Sql>,
}

/// What one step saw.
#[derive(Debug)]
pub(in crate::platform::services::audit) struct Seen {
    pub(in crate::platform::services::audit) hits: Vec<Hit>,
    /// The last row that was looked at; none if the place is done.
    pub(in crate::platform::services::audit) last: Option<Vec<Sql>>,
}

impl Column {
    const fn name(self) -> &'static str {
        match self {
            Self::Person(name) | Self::Text(name) | Self::Json(name, _) | Self::File(name) => name,
        }
    }

    fn without(self, person: &Person, value: &str) -> Option<String> {
        match self {
            Self::Person(_) => person.in_column(value),
            Self::Text(_) | Self::File(_) => person.in_text(value),
            Self::Json(_, about) => person.in_json(value, about),
        }
    }
}

impl Place {
    /// Looks for the person in the next rows behind a place.
    pub(in crate::platform::services::audit) fn look(
        &self,
        connection: &Connection,
        tenant: &str,
        person: &Person,
        after: Option<&[Sql]>,
    ) -> Result<Seen> {
        let key = self.key.join(", ");
        let columns: Vec<&str> = self.columns.iter().map(|column| column.name()).collect();
        let mut values: Vec<Sql> = vec![tenant.to_owned().into()];
        let from = after.map_or_else(String::new, |after| {
            values.extend(after.iter().cloned());
            format!(" AND ({key}) > ({})", vec!["?"; after.len()].join(", "))
        });
        // Most rows are told by SQL to be without the person, and are not read.
        let mut likely = Vec::new();
        for column in &columns {
            for name in &person.names {
                likely.push(format!("instr(lower({column}), ?) > 0"));
                values.push(name.to_lowercase().into());
            }
        }
        let likely = likely.join(" OR ");
        let shown: Vec<String> = columns.iter().map(|column| format!("iif(is_hit, {column}, NULL)")).collect();
        let all = columns.join(", ");
        // The comparison stands before the bound in the text, so its values come first.
        let sql = format!(
            "SELECT {key}, is_hit, {} FROM (
                 SELECT {key}, {all}, coalesce({likely}, 0) AS is_hit FROM
                     (SELECT {key}, {all} FROM {} WHERE tenant_id = ?{from} ORDER BY {key} LIMIT {STEP_ROWS}))",
            shown.join(", "),
            self.table
        );
        let likely_values = values.split_off(1 + after.map_or(0, <[Sql]>::len));
        let values: Vec<Sql> = likely_values.into_iter().chain(values).collect();
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let (mut hits, mut last, mut seen) = (Vec::new(), None, 0);
        while let Some(row) = rows.next()? {
            seen += 1;
            let key = self.key_of(row)?;
            if row.get::<_, bool>(self.key.len())? && self.rewritten(row, person, self.key.len() + 1)?.is_some() {
                hits.push(Hit { key: key.clone() });
            }
            last = Some(key);
        }
        Ok(Seen { hits, last: last.filter(|_| seen == STEP_ROWS) })
    }

    fn key_of(&self, row: &Row<'_>) -> Result<Vec<Sql>> {
        Ok((0..self.key.len()).map(|column| row.get(column)).collect::<rusqlite::Result<_>>()?)
    }

    /// The texts that a row has without the person: for each column the new text, where it changes.
    fn rewritten(&self, row: &Row<'_>, person: &Person, first: usize) -> Result<Option<Vec<Option<String>>>> {
        let mut texts = Vec::with_capacity(self.columns.len());
        for (place, column) in self.columns.iter().enumerate() {
            let value = match column {
                File(_) => row.get::<_, Option<Vec<u8>>>(first + place)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
                _ => row.get(first + place)?,
            };
            texts.push(value.and_then(|value| column.without(person, &value)));
        }
        Ok(texts.iter().any(Option::is_some).then_some(texts))
    }

    /// Takes the person out of a row; false if it is not there any more, or without the person.
    pub(in crate::platform::services::audit) fn erase(
        &self,
        tx: &Tx<'_>,
        platform: &Platform,
        request: &str,
        person: &Person,
        hit: &Hit,
    ) -> Result<bool> {
        let is_key = format!(" AND {} = ?", self.key.join(" = ? AND "));
        let columns: Vec<&str> = self.columns.iter().map(|column| column.name()).collect();
        let values: Vec<Sql> = std::iter::once(tx.tenant().to_owned().into()).chain(hit.key.iter().cloned()).collect();
        if self.then == Then::Conversation {
            person.names.iter().try_for_each(|name| communication::erase(tx, name))?;
        }
        let texts = {
            let sql = format!("SELECT {} FROM {} WHERE tenant_id = ?{is_key}", columns.join(", "), self.table);
            let mut statement = tx.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(values.iter()))?;
            match rows.next()? {
                Some(row) => self.rewritten(row, person, 0)?,
                None => None,
            }
        };
        let Some(texts) = texts else { return Ok(self.then == Then::Conversation) };
        if self.then == Then::Notification {
            let [Sql::Text(id)] = hit.key.as_slice() else { return Ok(false) };
            notifications::erase(tx, platform.data_dir(), id)?;
            return Ok(true);
        }
        let (mut set, mut new): (Vec<String>, Vec<Sql>) = (Vec::new(), Vec::new());
        for (column, text) in self.columns.iter().zip(texts) {
            let (name, Some(text)) = (column.name(), text) else { continue };
            if self.then == Then::Trail {
                let [Sql::Integer(sequence)] = hit.key.as_slice() else { return Ok(false) };
                let proof = super::signature(platform.keys(), tx.tenant(), *sequence, name, &text);
                set.push(format!("{name}_salt = NULL, replaced = json_set(coalesce(replaced, '{{}}'), '$.{name}', '{proof}')"));
            }
            set.push(if matches!(column, File(_)) { format!("{name} = CAST(? AS BLOB)") } else { format!("{name} = ?") });
            new.push(text.into());
        }
        if self.then == Then::Trail {
            return self.erase_entry(tx, request, hit, &set, new);
        }
        let sql = format!("UPDATE {} SET {} WHERE tenant_id = ?{is_key}", self.table, set.join(", "));
        tx.prepare(&sql)?.execute(params_from_iter(new.into_iter().chain(values)))?;
        match (self.then, hit.key.first()) {
            (Then::Record, Some(Sql::Integer(number))) => entities::reindex(tx, *number)?,
            (Then::Process, Some(Sql::Integer(number))) => processes::reindex(tx, *number)?,
            (Then::Document, Some(Sql::Integer(number))) => documents::reindex_without_file(tx, *number)?,
            _ => {}
        }
        Ok(true)
    }

    /// Does what is to be done once for several rows that were changed.
    pub(in crate::platform::services::audit) fn settle(&self, tx: &Tx<'_>, hits: &[Hit]) -> Result<()> {
        let keys: BTreeSet<&str> = hits
            .iter()
            .filter_map(|hit| match hit.key.first() {
                Some(Sql::Text(key)) if self.then == Then::Dataset => Some(key.as_str()),
                _ => None,
            })
            .collect();
        keys.into_iter().try_for_each(|dataset| learning::digest_again(tx, dataset))
    }

    /// Each text with a statement of its own: `replaced` is built up by one column after the other.
    fn erase_entry(&self, tx: &Tx<'_>, request: &str, hit: &Hit, set: &[String], new: Vec<Sql>) -> Result<bool> {
        for (column, text) in set.chunks(2).zip(new) {
            let sql = format!("UPDATE {} SET {}, erased_by = ? WHERE tenant_id = ? AND sequence = ?", self.table, column.join(", "));
            let values = [text, request.to_owned().into(), tx.tenant().to_owned().into()].into_iter().chain(hit.key.iter().cloned());
            tx.prepare(&sql)?.execute(params_from_iter(values))?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Tables with nobody in them, those that go with their thing, and those of accounts, which end with the account.
    const WITHOUT: &[&str] = &[
        "agent_totals",
        "audit_checkpoints",
        "audit_deletions",
        "audit_holds",
        "channel_secrets",
        "channels",
        "dead_letters",
        "discovered_schemas",
        "document_blobs",
        "entity_fields",
        "entity_links",
        "entity_types",
        "idempotency",
        "integration_secrets",
        "integrations",
        "metric_cells",
        "metric_users",
        "notification_deliveries",
        "notification_templates",
        "portals",
        "refresh_tokens",
        "roles",
        "schedule_fires",
        "service_instances",
        "service_tokens",
        "sessions",
        "users",
    ];

    #[tokio::test]
    async fn each_table_of_tenants_is_a_place_or_holds_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let clock = std::sync::Arc::new(crate::platform::clock::SystemClock);
        let (database, _) = crate::platform::database::Database::open(folder.path().join("platform.db"), clock, ()).await.unwrap();
        let sql = "SELECT DISTINCT m.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c
                   WHERE m.type = 'table' AND c.name = 'tenant_id' ORDER BY m.name";
        let tables: BTreeSet<String> = database
            .read(move |connection| Ok(connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?))
            .await
            .unwrap();
        let known: BTreeSet<String> = PLACES.iter().map(|place| place.table).chain(WITHOUT.iter().copied()).map(str::to_owned).collect();
        assert_eq!(tables, known);
    }
}
