//! Feedback: judged, bound to the agent and the published version of the prompt, and listed.

use rusqlite::{Connection, Row, params};
use serde_json::json;

use super::{agents, prompt_must_exist};
use crate::api::arguments::quote;
use crate::api::ids::{AgentId, ExecutionId, PromptId};
use crate::api::learning::{Assessment, Feedback, Query, Submit};
use crate::api::{FieldError, Operation as _, Page, Timestamp, prompts as contract};
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::{Cx, within_bytes};
use crate::platform::services::prompts;

/// Longest expected or actual output, in characters.
const MAX_OUTPUT: usize = 20_000;
/// Longest notes, in characters.
const MAX_NOTES: usize = 4_000;

/// The columns that [`from_row`] reads, in its order.
pub(super) const COLUMNS: &str = "id, agent_id, agent_version, prompt_id, prompt_version, execution_id, accuracy, user_satisfaction, \
                                  submitted_by, created_at, expected_output, actual_output, notes";

/// Keeps feedback. Published versions are never changed or removed, so they may be looked up before the transaction.
pub(super) async fn submit(cx: Cx, request: Submit) -> Result<Feedback> {
    check(&request.feedback)?;
    let tenant = cx.tenant();
    let (request, version, agent_version) = cx
        .read(move |connection| {
            if let Some(execution) = &request.execution_id {
                execution_must_exist(connection, tenant.as_str(), execution.as_str())?;
            }
            let version = published(connection, tenant.as_str(), request.prompt_id.as_str(), request.prompt_version.as_deref())?;
            let agent = agents::version(connection, tenant.as_str(), request.agent_id.as_str())?;
            Ok((request, version, agent))
        })
        .await?;
    cx.write(move |tx| {
        let feedback = Feedback {
            feedback_id: tx.mint("feedback").into(),
            execution_id: request.execution_id,
            agent_id: Some(request.agent_id),
            agent_version: Some(agent_version),
            prompt_id: Some(request.prompt_id),
            prompt_version: Some(version),
            feedback: request.feedback,
            submitted_by: Some(tx.scope().actor.clone()),
            created_at: Some(tx.now()),
        };
        let (id, said) = (feedback.feedback_id.as_str(), &feedback.feedback);
        tx.prepare_cached(&format!(
            "INSERT INTO feedback (tenant_id, {COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"
        ))?
        .execute(params![
            tx.tenant(),
            id,
            feedback.agent_id.as_ref().map(AgentId::as_str),
            feedback.agent_version,
            feedback.prompt_id.as_ref().map(PromptId::as_str),
            feedback.prompt_version,
            feedback.execution_id.as_ref().map(ExecutionId::as_str),
            said.accuracy,
            said.user_satisfaction,
            feedback.submitted_by,
            tx.now().millis(),
            said.expected_output,
            said.actual_output,
            said.notes
        ])?;
        let data = json!({
            "feedbackId": id, "agentId": feedback.agent_id, "promptId": feedback.prompt_id, "promptVersion": feedback.prompt_version,
            "executionId": feedback.execution_id, "accuracy": said.accuracy, "userSatisfaction": said.user_satisfaction,
        });
        tx.emit("feedback.submitted", id, data)?;
        tx.audit("feedback.submitted", "feedback", id, None)?;
        Ok(feedback)
    })
    .await
}

fn check(said: &Assessment) -> Result<()> {
    let texts = [
        ("/feedback/expectedOutput", &said.expected_output, MAX_OUTPUT),
        ("/feedback/actualOutput", &said.actual_output, MAX_OUTPUT),
        ("/feedback/notes", &said.notes, MAX_NOTES),
    ];
    let too_long = texts.iter().filter_map(|(pointer, text, most)| {
        let length = text.as_deref()?.chars().count();
        (length > *most).then(|| FieldError::new(*pointer, "length", format!("has {length} characters; at most {most} are allowed")))
    });
    let faults: Vec<FieldError> = too_long.collect();
    if !faults.is_empty() {
        return Err(Error::new(Kind::Invalid, "FM-LMS-TOO-LONG", "a text of the feedback is too long").with_fields(faults));
    }
    // The cleaned schema, which the request was checked against, has no lower bound of nought.
    for (pointer, rating) in [("/feedback/accuracy", said.accuracy), ("/feedback/userSatisfaction", said.user_satisfaction)] {
        if rating.is_some_and(|rating| rating < 0.0) {
            return Err(Error::new(Kind::Invalid, "FM-LMS-INVALID", "a rating is below nought").field(
                pointer,
                "range",
                "must be 0 or more",
            ));
        }
    }
    let says_text = texts.iter().any(|(_, text, _)| text.as_deref().is_some_and(|text| !text.trim().is_empty()));
    if says_text || said.accuracy.is_some() || said.user_satisfaction.is_some() {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, "FM-LMS-EMPTY", "the feedback says nothing").field(
        "/feedback",
        "required",
        "must have accuracy, userSatisfaction, expectedOutput, actualOutput or notes",
    ))
}

fn execution_must_exist(connection: &Connection, tenant: &str, id: &str) -> Result<()> {
    let known: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM executions WHERE tenant_id = ?1 AND id = ?2)")?
        .query_row(params![tenant, id], |row| row.get(0))?;
    if known {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, "FM-LMS-UNKNOWN-EXECUTION", format!("there is no execution {}", quote(id))).field(
        "/executionId",
        "unknown",
        "must be the id of an execution, or be left out",
    ))
}

/// The published version that feedback is on. A draft is still changed, so nothing can be said of it for good.
fn published(connection: &Connection, tenant: &str, prompt: &str, version: Option<&str>) -> Result<String> {
    prompt_must_exist(connection, tenant, prompt)?;
    prompts::published_version(connection, tenant, prompt, version)?.ok_or_else(|| {
        let message = match version {
            Some(version) => format!("prompt {prompt} has no published version {}", quote(version)),
            None => format!("prompt {prompt} has no published version yet"),
        };
        Error::new(Kind::Invalid, "FM-LMS-UNKNOWN-VERSION", message)
            .field("/promptVersion", "unknown", "must be a published version of the prompt")
            .hint(format!("{} shows the versions of a prompt.", contract::Versions::SPEC.name))
    })
}

/// Lists feedback, newest first.
pub(super) async fn query(cx: Cx, request: Query) -> Result<Page<Feedback>> {
    let before = cx.cursor(&request.page)?;
    let (tenant, page) = (cx.tenant(), request.page);
    let (found, page) = cx
        .read(move |connection| {
            // Each filter has its index, which also has the order.
            let (agent, prompt) = (request.agent_id.map(|id| id.0), request.prompt_id.map(|id| id.0));
            let and = |given: bool, condition: &'static str| if given { condition } else { "" };
            let sql = format!(
                "SELECT {COLUMNS} FROM feedback WHERE tenant_id = :tenant{}{}{} ORDER BY id DESC LIMIT :most",
                and(agent.is_some(), " AND agent_id = :agent"),
                and(prompt.is_some(), " AND prompt_id = :prompt"),
                and(before.is_some(), " AND id < :before"),
            );
            let most = i64::try_from(page.size() + 1).unwrap_or_default();
            let tenant = tenant.as_str();
            let mut values: Vec<(&str, &dyn rusqlite::ToSql)> = vec![(":tenant", &tenant), (":most", &most)];
            for (name, given) in [(":agent", &agent), (":prompt", &prompt), (":before", &before)] {
                if let Some(given) = given {
                    values.push((name, given));
                }
            }
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(values.as_slice(), from_row)?;
            within_bytes(rows.map(|row| Ok(row?)), &page, size_of)
        })
        .await?;
    Ok(cx.page_of(found, &page, |feedback| feedback.feedback_id.0.clone()))
}

/// The size of the texts, in bytes.
pub(super) fn size_of(feedback: &Feedback) -> usize {
    let said = &feedback.feedback;
    [&said.expected_output, &said.actual_output, &said.notes].into_iter().flatten().map(String::len).sum()
}

/// A row as feedback.
pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Feedback> {
    Ok(Feedback {
        feedback_id: row.get::<_, String>(0)?.into(),
        agent_id: row.get::<_, Option<String>>(1)?.map(Into::into),
        agent_version: row.get(2)?,
        prompt_id: row.get::<_, Option<String>>(3)?.map(Into::into),
        prompt_version: row.get(4)?,
        execution_id: row.get::<_, Option<String>>(5)?.map(Into::into),
        submitted_by: row.get(8)?,
        created_at: Some(Timestamp::from_millis(row.get(9)?)),
        feedback: Assessment {
            accuracy: row.get(6)?,
            user_satisfaction: row.get(7)?,
            expected_output: row.get(10)?,
            actual_output: row.get(11)?,
            notes: row.get(12)?,
        },
    })
}
