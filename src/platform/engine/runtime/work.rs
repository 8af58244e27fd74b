//! A node's work that takes long, such as a call of an outside system: a row that a service's worker takes, does outside the
//! writer's transaction, and whose end resumes the execution in one.
//!
//! The row's id is the same at every attempt: a service sends it on as the idempotency key. The row goes when the work
//! ends, and with whatever ends its execution before.

use rusqlite::{OptionalExtension as _, Row, params};
use serde_json::{Value, json};

use super::rehearsal;
use super::run::{Run, Token, Wait, document, parse, size_of};
use crate::api::Timestamp;
use crate::api::executions::{ExecutionStatus, Failure};
use crate::api::processes::Node;
use crate::error::{Error, Result};
use crate::platform::database::Tx;
use crate::platform::engine::{Engine, Mode, Stop};

/// How often work is begun without an end that could be kept, before its node fails.
const MAX_BEGUN: i64 = 10;
/// Largest request of a node, in bytes of JSON.
const MAX_REQUEST: usize = 1024 * 1024;
/// Executions in these states have work that may begin; that of a paused one waits.
const OF_LIVE: &str = "EXISTS (
    SELECT 1 FROM executions WHERE executions.tenant_id = node_work.tenant_id AND executions.id = execution_id
        AND status IN ('pending', 'running', 'waiting', 'compensating'))";

/// The services that work for nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkKind {
    /// Calls of outside systems, by the Integration Hub.
    Integration,
    /// Questions to agents, by the AI Agent Service.
    Agent,
    /// Notifications, by the Notification Service.
    Notification,
}

impl WorkKind {
    /// The kind as rows and histories have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Integration => "integration",
            Self::Agent => "agent",
            Self::Notification => "notification",
        }
    }

    /// Which rows of the kind wait, as SQL says it: not those of a held execution.
    pub(super) fn waiting(self) -> String {
        format!("kind = '{}' AND {OF_LIVE}", self.as_str())
    }
}

/// The name of a piece of work.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkId {
    /// The tenant.
    pub tenant: String,
    /// Its id; the same at every attempt.
    pub id: String,
}

/// A piece of work as its service gets it.
#[derive(Debug, Clone)]
pub struct Work {
    /// Its name.
    pub name: WorkId,
    /// The execution that waits for it.
    pub execution: String,
    /// The node.
    pub node: String,
    /// Whose action led to it; `system` where the platform went on by itself.
    pub actor: String,
    /// What the node asks for.
    pub request: Value,
    /// How many attempts ended before and are repeated.
    pub attempts: u32,
}

/// How an attempt ended.
#[derive(Debug)]
pub enum End {
    /// With the node's result.
    Answered(Value),
    /// The node fails, with a code and the reason.
    Failed {
        /// The stable code.
        code: String,
        /// The reason, for people.
        message: String,
    },
    /// It is tried again at a time.
    Later(Timestamp),
}

impl Engine<'_, '_> {
    /// Hands a node's work over to a service; the token waits for its end. A rehearsal takes the answer that it was given.
    pub(crate) fn hand_over(&mut self, run: &mut Run, place: usize, node: &Node, kind: WorkKind, request: &Value) -> Result<(), Stop> {
        if let Mode::Rehearsal(answers) = &mut self.mode
            && let Some(answer) = answers.next(&node.id)?
        {
            self.goes_on_later();
            rehearsal::fails(&answer)?;
            return self.done(run, place, node, answer);
        }
        let id = self.add_work(run, node, kind, request, self.tx.mint("work"))?;
        run.state.tokens[place].wait = Wait::Work(id.clone());
        self.waits(run, node, json!({ "workId": id, "service": kind.as_str() }))
    }

    /// As [`Engine::hand_over`], for work that undoes a node.
    pub(crate) fn hand_undoing_over(&mut self, run: &mut Run, node: &Node, kind: WorkKind, request: &Value) -> Result<(), Stop> {
        let id = self.add_work(run, node, kind, request, self.tx.mint("work"))?;
        run.state.tokens.push(Token::waiting(node.id.clone(), Wait::Undoing(id.clone())));
        self.waits(run, node, json!({ "workId": id, "service": kind.as_str(), "compensating": true }))
    }

    /// Takes in how a piece of work ended; one that is not there any more changes nothing.
    pub fn worked(&mut self, name: &WorkId, end: End) -> Result<()> {
        if let End::Later(at) = end {
            self.tx
                .prepare_cached(
                    "UPDATE node_work SET attempts = attempts + 1, begun = 0, next_attempt_at = ?3 WHERE tenant_id = ?1 AND id = ?2",
                )?
                .execute((&name.tenant, &name.id, at.millis()))?;
            return Ok(());
        }
        let execution: Option<String> = self
            .tx
            .prepare_cached("DELETE FROM node_work WHERE tenant_id = ?1 AND id = ?2 RETURNING execution_id")?
            .query_row((&name.tenant, &name.id), |row| row.get(0))
            .optional()?;
        let Some(execution) = execution else { return Ok(()) };
        let mut run = Run::load(self.tx, &execution)?;
        let waits = |wait: &Wait| matches!(wait, Wait::Work(id) | Wait::Undoing(id) if *id == name.id);
        let Some(place) = run.state.tokens.iter().position(|token| waits(&token.wait)) else { return Ok(()) };
        let node = run.node(&run.state.tokens[place].node)?;
        let failed = |code, message, node: &Node| Failure { code, message, node_id: Some(node.id.clone()) };
        if run.head.status == ExecutionStatus::Compensating {
            return match end {
                End::Failed { code, message } => self.undoing_failed(&mut run, place, failed(code, message, &node)),
                End::Answered(answer) => self.undone(&mut run, place, &answer),
                End::Later(_) => Ok(()),
            };
        }
        self.attempt_at(&mut run, place, |engine, run| match end {
            End::Answered(answer) => engine.done(run, place, &node, answer),
            End::Failed { code, message } => {
                // It ended: another try is other work.
                run.state.tokens[place].wait = Wait::Nothing;
                Err(Stop::Failed(failed(code, message, &node)))
            }
            End::Later(_) => Ok(()),
        })?;
        self.go_on(&mut run)
    }

    /// Writes work down under an id.
    pub(crate) fn add_work(&self, run: &Run, node: &Node, kind: WorkKind, request: &Value, id: String) -> Result<String, Stop> {
        if size_of(request) > MAX_REQUEST {
            return Err(Stop::failed("FM-EES-REQUEST-TOO-LARGE", format!("the node's request would hold more than {MAX_REQUEST} bytes")));
        }
        let (tx, now) = (&self.tx, self.tx.now().millis());
        tx.prepare_cached(
            "INSERT INTO node_work (tenant_id, id, kind, execution_id, node_id, actor, request, next_attempt_at, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)",
        )
        .map_err(Error::from)?
        .execute(params![tx.tenant(), id, kind.as_str(), run.head.id, node.id, tx.scope().actor, document(request)?, now])
        .map_err(Error::from)?;
        Ok(id)
    }
}

/// Begins an attempt. Work that began too often without an end fails its node; that of a held execution does not begin.
pub(crate) fn begin(tx: &mut Tx<'_>, name: &WorkId) -> Result<Option<Work>> {
    let sql = format!(
        "UPDATE node_work SET begun = begun + 1 WHERE tenant_id = ?1 AND id = ?2 AND {OF_LIVE}
         RETURNING execution_id, node_id, actor, request, attempts, begun"
    );
    let read = |row: &Row<'_>| {
        let work = Work {
            name: name.clone(),
            execution: row.get(0)?,
            node: row.get(1)?,
            actor: row.get(2)?,
            request: Value::Null,
            attempts: row.get(4)?,
        };
        Ok((work, row.get::<_, String>(3)?, row.get::<_, i64>(5)?))
    };
    let begun = tx.prepare_cached(&sql)?.query_row((&name.tenant, &name.id), read).optional()?;
    let Some((work, request, begun)) = begun else { return Ok(None) };
    if begun > MAX_BEGUN {
        let message = format!("the work of the node was begun {MAX_BEGUN} times and never came to its end");
        Engine::new(tx).worked(name, End::Failed { code: "FM-EES-INTERRUPTED".to_owned(), message })?;
        return Ok(None);
    }
    Ok(Some(Work { request: parse(&request)?, ..work }))
}

/// Whether a piece of work is still waited for.
pub(crate) fn is_wanted(tx: &Tx<'_>, id: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM node_work WHERE tenant_id = ?1 AND id = ?2)";
    Ok(tx.prepare_cached(sql)?.query_row((tx.tenant(), id), |row| row.get(0))?)
}

/// Takes a piece of work away that is no longer needed.
pub(crate) fn drop_one(tx: &Tx<'_>, id: &str) -> Result<()> {
    tx.prepare_cached("DELETE FROM node_work WHERE tenant_id = ?1 AND id = ?2")?.execute((tx.tenant(), id))?;
    Ok(())
}

/// Takes the work of an execution that ended away.
pub(crate) fn drop_of_execution(tx: &Tx<'_>, execution: &str) -> Result<()> {
    tx.prepare_cached("DELETE FROM node_work WHERE tenant_id = ?1 AND execution_id = ?2")?.execute((tx.tenant(), execution))?;
    Ok(())
}
