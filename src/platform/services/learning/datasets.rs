//! Datasets: snapshots of feedback as lines of JSON, with the digest of the whole.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::examples::{Example, Maker};
use super::feedback::{self, from_row};
use super::{agents, prompt_must_exist};
use crate::api::arguments::quote;
use crate::api::ids::{AgentId, DatasetId, PromptId};
use crate::api::learning::{CreateDataset, Dataset, ListDatasets, Submit};
use crate::api::{Effect, Operation, Page, PageRequest, Permission, Spec, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::{Answer, Cx, within_bytes};
use crate::platform::keys;

/// Most records of a dataset.
const MAX_RECORDS: usize = 5_000;
/// Largest dataset, in bytes.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Shows what a dataset was made of, and its digest.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Get {
    /// The dataset.
    id: DatasetId,
}

impl Operation for Get {
    type Output = Dataset;
    const SPEC: Spec =
        Spec::get("datasets_get", "/datasets/{id}", Effect::Read).titled("Show a training dataset").requires(Permission::FEEDBACK_VIEW);
}

/// Shows the records of a dataset, in the order of its lines.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Records {
    /// The dataset.
    id: DatasetId,
    /// How much to answer.
    #[serde(flatten)]
    page: PageRequest,
}

impl Operation for Records {
    type Output = Page<Example>;
    const SPEC: Spec = Spec::get("datasets_records", "/datasets/{id}/records", Effect::Read)
        .titled("Show the records of a dataset")
        .requires(Permission::FEEDBACK_VIEW);
}

/// Takes a snapshot. It is read from one consistent view of the file; what is submitted meanwhile is not part of it.
pub(super) async fn create(cx: Cx, request: CreateDataset) -> Result<Answer<Dataset>> {
    if let (Some(after), Some(before)) = (request.created_after, request.created_before)
        && after >= before
    {
        return Err(Error::new(Kind::Invalid, "FM-LMS-PERIOD", "the period ends before it begins").field(
            "/createdBefore",
            "range",
            "must be later than createdAfter",
        ));
    }
    let tenant = cx.tenant();
    let (request, lines) = cx
        .read(move |connection| {
            let lines = snapshot(connection, tenant.as_str(), &request)?;
            Ok((request, lines))
        })
        .await?;
    let content: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    let digest = keys::sha256(content.as_bytes());
    cx.write(move |tx| {
        let dataset = Dataset {
            dataset_id: tx.mint("dataset").into(),
            name: request.name,
            agent_id: request.agent_id,
            prompt_id: request.prompt_id,
            records: Some(lines.len() as u64),
            format: Some("jsonl".to_owned()),
            digest: Some(digest),
            created_at: Some(tx.now()),
        };
        let id = dataset.dataset_id.as_str();
        tx.prepare_cached(&format!("INSERT INTO datasets (tenant_id, {COLUMNS}, created_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"))?
            .execute(params![
                tx.tenant(),
                id,
                dataset.name,
                dataset.agent_id.as_ref().map(AgentId::as_str),
                dataset.prompt_id.as_ref().map(PromptId::as_str),
                dataset.records,
                dataset.digest,
                tx.now().millis(),
                tx.scope().actor
            ])?;
        let mut statement = tx.prepare_cached("INSERT INTO dataset_lines (tenant_id, dataset_id, place, line) VALUES (?1, ?2, ?3, ?4)")?;
        for (line, place) in lines.iter().zip(1_i64..) {
            statement.execute(params![tx.tenant(), id, place, line])?;
        }
        drop(statement);
        tx.emit("dataset.created", id, json!({ "datasetId": id, "records": dataset.records, "digest": dataset.digest }))?;
        tx.audit("dataset.created", "dataset", id, None)?;
        Ok(Answer::from(dataset))
    })
    .await
}

/// The lines of a new dataset, oldest first.
fn snapshot(connection: &Connection, tenant: &str, request: &CreateDataset) -> Result<Vec<String>> {
    if let Some(agent) = &request.agent_id {
        agents::must_exist(connection, tenant, agent.as_str())?;
    }
    if let Some(prompt) = &request.prompt_id {
        prompt_must_exist(connection, tenant, prompt.as_str())?;
    }
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {} FROM feedback WHERE tenant_id = ?1 AND (?2 IS NULL OR agent_id = ?2) AND (?3 IS NULL OR prompt_id = ?3) \
         AND (?4 IS NULL OR created_at > ?4) AND (?5 IS NULL OR created_at < ?5) ORDER BY id LIMIT ?6",
        feedback::COLUMNS
    ))?;
    let rows = statement.query_map(
        params![
            tenant,
            request.agent_id.as_ref().map(AgentId::as_str),
            request.prompt_id.as_ref().map(PromptId::as_str),
            request.created_after.map(Timestamp::millis),
            request.created_before.map(Timestamp::millis),
            i64::try_from(MAX_RECORDS + 1).unwrap_or_default()
        ],
        from_row,
    )?;
    let (mut maker, mut lines, mut bytes) = (Maker::new(connection, tenant), Vec::new(), 0);
    for row in rows {
        let line = serde_json::to_string(&maker.example(row?)?).map_err(Error::internal)?;
        bytes += line.len() + 1;
        lines.push(line);
        if bytes > MAX_BYTES || lines.len() > MAX_RECORDS {
            let message = format!("a dataset has at most {MAX_RECORDS} records and {} MiB", MAX_BYTES / 1024 / 1024);
            return Err(Error::new(Kind::TooLarge, "FM-LMS-DATASET-TOO-LARGE", message)
                .hint("Narrow it by agentId, promptId, createdAfter and createdBefore."));
        }
    }
    if lines.is_empty() {
        return Err(Error::new(Kind::Invalid, "FM-LMS-DATASET-EMPTY", "there is no feedback that the dataset could be made of")
            .hint(format!("Widen the period or the filters; {} gives feedback.", Submit::SPEC.name)));
    }
    Ok(lines)
}

pub(super) async fn list(cx: Cx, request: ListDatasets) -> Result<Page<Dataset>> {
    let before = cx.cursor(&request.page)?;
    let (tenant, most) = (cx.tenant(), i64::try_from(request.page.size() + 1).unwrap_or_default());
    let found = cx
        .read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM datasets WHERE tenant_id = ?1 AND id < coalesce(?2, char(1114111)) ORDER BY id DESC LIMIT ?3"
            ))?;
            let rows = statement.query_map(params![tenant.as_str(), before, most], dataset_of)?;
            Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
        })
        .await?;
    Ok(cx.page_of(found, &request.page, |dataset| dataset.dataset_id.0.clone()))
}

pub(super) async fn get(cx: Cx, request: Get) -> Result<Dataset> {
    let tenant = cx.tenant();
    cx.read(move |connection| find(connection, tenant.as_str(), request.id.as_str())?.ok_or_else(|| not_found(request.id.as_str()))).await
}

pub(super) async fn records(cx: Cx, request: Records) -> Result<Page<Example>> {
    let after = cx.cursor_number(&request.page)?.unwrap_or_default();
    let (tenant, page) = (cx.tenant(), request.page);
    let (found, page) = cx
        .read(move |connection| {
            find(connection, tenant.as_str(), request.id.as_str())?.ok_or_else(|| not_found(request.id.as_str()))?;
            let mut statement = connection.prepare_cached(
                "SELECT place, line FROM dataset_lines WHERE tenant_id = ?1 AND dataset_id = ?2 AND place > ?3 ORDER BY place LIMIT ?4",
            )?;
            let most = i64::try_from(page.size() + 1).unwrap_or_default();
            let rows = statement.query_map(params![tenant.as_str(), request.id.as_str(), after, most], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
            })?;
            within_bytes(rows.map(|row| Ok(row?)), &page, |(_, line)| line.len())
        })
        .await?;
    let page = cx.page_of(found, &page, |(place, _)| place.to_string());
    let items = page.items.iter().map(|(_, line)| serde_json::from_str(line).map_err(Error::internal)).collect::<Result<_>>()?;
    Ok(Page { items, next_cursor: page.next_cursor })
}

/// The examples of a dataset that are about an agent, and about a prompt if one is named.
pub(super) fn examples(connection: &Connection, tenant: &str, dataset: &str, agent: &str, prompt: Option<&str>) -> Result<Vec<Example>> {
    let mut statement =
        connection.prepare_cached("SELECT line FROM dataset_lines WHERE tenant_id = ?1 AND dataset_id = ?2 ORDER BY place")?;
    let rows = statement.query_map(params![tenant, dataset], |row| row.get::<_, String>(0))?;
    let mut found = Vec::new();
    for row in rows {
        let example: Example = serde_json::from_str(&row?).map_err(Error::internal)?;
        if example.agent_id == agent && prompt.is_none_or(|prompt| example.prompt_id == prompt) {
            found.push(example);
        }
    }
    Ok(found)
}

/// A dataset of the tenant.
pub(super) fn find(connection: &Connection, tenant: &str, id: &str) -> Result<Option<Dataset>> {
    Ok(connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM datasets WHERE tenant_id = ?1 AND id = ?2"))?
        .query_row(params![tenant, id], dataset_of)
        .optional()?)
}

fn not_found(id: &str) -> Error {
    Error::new(Kind::NotFound, "FM-LMS-NOT-FOUND", format!("there is no dataset {}", quote(id)))
        .hint(format!("{} answers with the id of a new one.", CreateDataset::SPEC.name))
}

/// Gives a dataset the digest of its lines, after the lines were changed otherwise.
pub(crate) fn digest_again(tx: &crate::platform::database::Tx<'_>, dataset: &str) -> Result<()> {
    let mut content = String::new();
    let mut lines = tx.prepare_cached("SELECT line FROM dataset_lines WHERE tenant_id = ?1 AND dataset_id = ?2 ORDER BY place")?;
    for line in lines.query_map((tx.tenant(), dataset), |row| row.get::<_, String>(0))? {
        content.push_str(&line?);
        content.push('\n');
    }
    tx.prepare_cached("UPDATE datasets SET digest = ?3 WHERE tenant_id = ?1 AND id = ?2")?.execute((
        tx.tenant(),
        dataset,
        keys::sha256(content.as_bytes()),
    ))?;
    Ok(())
}

const COLUMNS: &str = "id, name, agent_id, prompt_id, records, digest, created_at";

fn dataset_of(row: &Row<'_>) -> rusqlite::Result<Dataset> {
    Ok(Dataset {
        dataset_id: row.get::<_, String>(0)?.into(),
        name: row.get(1)?,
        agent_id: row.get::<_, Option<String>>(2)?.map(Into::into),
        prompt_id: row.get::<_, Option<String>>(3)?.map(Into::into),
        records: Some(row.get(4)?),
        format: Some("jsonl".to_owned()),
        digest: row.get(5)?,
        created_at: Some(Timestamp::from_millis(row.get(6)?)),
    })
}
