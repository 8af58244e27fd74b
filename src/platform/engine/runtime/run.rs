//! An execution while it is worked on: loaded whole, changed, and stored whole within one transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use rusqlite::{OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::api::executions::{self, Execution, ExecutionStatus, Failure};
use crate::api::processes::Node;
use crate::api::{Operation as _, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;
use crate::platform::engine::definition::{Definition, Plan};
use crate::platform::engine::expressions::budget::Budget;
use crate::platform::engine::expressions::conditions::Facts;

/// The most that the variables of an execution may hold, in bytes of JSON.
pub const MAX_VARIABLES: usize = 1024 * 1024;

/// An execution.
#[derive(Debug)]
pub struct Run {
    /// What is stored as columns.
    pub head: Head,
    /// What is stored as one document.
    pub state: State,
    /// The definition it was started with.
    pub plan: Plan,
    /// The item that expressions see.
    pub each: Map<String, Value>,
    /// The lists that were evaluated, by their rounds.
    pub items: HashMap<u64, Rc<Vec<Value>>>,
    facts: Map<String, Value>,
    now: Timestamp,
    expressions: Rc<Budget>,
}

/// The columns of an execution.
#[derive(Debug, Clone)]
pub struct Head {
    /// Its id.
    pub id: String,
    /// The process it runs.
    pub process: String,
    /// The version it keeps.
    pub version: String,
    /// Where it stands.
    pub status: ExecutionStatus,
    /// Who it was started for.
    pub initiator: String,
    /// The execution whose subprocess it is.
    pub parent: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
}

/// What an execution remembers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// The variables now.
    pub variables: Map<String, Value>,
    /// The state of each node reached.
    pub node_states: Map<String, Value>,
    /// What each node gave.
    pub results: Map<String, Value>,
    /// Where it is.
    pub tokens: Vec<Token>,
    /// How many subprocesses it is below.
    pub depth: u32,
    /// How many nodes it went through.
    pub steps: u64,
    /// Bytes of what undoing reads, over all passes that can be undone.
    #[serde(default)]
    pub kept: usize,
    /// Where it stood when it failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stopped: Vec<Token>,
    /// The lists that are worked through.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rounds: BTreeMap<u64, Round>,
    /// The variables that undoing set; none until undoing begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone: Option<BTreeSet<String>>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// A place where an execution is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// The node.
    pub node: String,
    /// The connection it came by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<usize>,
    /// What it waits for.
    pub wait: Wait,
    /// When it waits for it no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The item of a list that it works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Item>,
}

impl Token {
    /// A token that came to a node by a connection.
    #[must_use]
    pub fn at(node: String, via: Option<usize>) -> Self {
        Self { node, via, wait: Wait::Nothing, until: None, item: None }
    }

    /// A token that waits at a node.
    #[must_use]
    pub fn waiting(node: String, wait: Wait) -> Self {
        Self { node, via: None, wait, until: None, item: None }
    }

    /// When it goes on by itself.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        if let Wait::Until(time) = self.wait { Some(time) } else { self.until }
    }
}

/// A list that is worked through.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Round {
    /// Digest of the list.
    pub list: String,
    /// The next item that is begun.
    pub next: usize,
    /// What the items gave so far.
    pub results: Vec<Value>,
    /// Bytes of the results.
    pub bytes: usize,
}

/// An item of a list, as a token stands for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The round that it belongs to.
    pub round: u64,
    /// Its place in the list.
    pub index: usize,
}

/// What a token waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// Nothing.
    Nothing,
    /// A person.
    Task(String),
    /// A time.
    Until(Timestamp),
    /// A subprocess.
    Execution(String),
    /// The other branches.
    Branches,
    /// A service that works for the node.
    Work(String),
    /// A person, a service or an execution below that undoes the node.
    Undoing(String),
    /// A message from outside.
    Message,
    /// Nothing, and the node is done: a way on has yet to be taken.
    Leaving,
}

impl Run {
    /// A new execution at its entry.
    pub fn new(tx: &Tx<'_>, head: Head, definition: &Definition, variables: Map<String, Value>, depth: u32) -> Self {
        let plan = Plan::new(definition);
        let tokens = plan.entry().map(|node| Token::at(node.to_owned(), None)).into_iter().collect();
        Self::of(tx, head, State { variables, tokens, depth, ..State::default() }, plan)
    }

    /// Loads an execution of the tenant.
    pub fn load(tx: &Tx<'_>, id: &str) -> Result<Self> {
        let (head, state) = read(tx, tx.scope().tenant.as_str(), id)?.ok_or_else(|| not_found(id))?;
        let definition = definition_of(tx, tx.scope().tenant.as_str(), &head.process, &head.version)?;
        Ok(Self::of(tx, head, state, Plan::new(&definition)))
    }

    fn of(tx: &Tx<'_>, head: Head, state: State, plan: Plan) -> Self {
        let facts = facts_of(&head);
        Self { head, state, plan, each: Map::new(), items: HashMap::new(), facts, now: tx.now(), expressions: Rc::clone(tx.expressions()) }
    }

    /// Stores it for the first time.
    pub fn insert(&self, tx: &Tx<'_>) -> Result<()> {
        let head = &self.head;
        tx.prepare_cached(
            "INSERT INTO executions (tenant_id, id, process_id, version, status, state, initiator, parent_id, started_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            tx.scope().tenant.as_str(),
            head.id,
            head.process,
            head.version,
            head.status.as_str(),
            document(&self.state)?,
            head.initiator,
            head.parent,
            head.started_at.millis()
        ])?;
        Ok(())
    }

    /// Stores what changed.
    pub fn store(&self, tx: &Tx<'_>) -> Result<()> {
        let watches = matches!(self.head.status, ExecutionStatus::Waiting | ExecutionStatus::Compensating);
        let due = if watches { self.due() } else { None };
        tx.prepare_cached(
            "UPDATE executions SET status = ?3, state = ?4, completed_at = ?5, due_at = ?6 WHERE tenant_id = ?1 AND id = ?2",
        )?
        .execute(params![
            tx.scope().tenant.as_str(),
            self.head.id,
            self.head.status.as_str(),
            document(&self.state)?,
            self.head.completed_at.map(Timestamp::millis),
            due.map(Timestamp::millis)
        ])?;
        Ok(())
    }

    /// The next time that it waits for.
    fn due(&self) -> Option<Timestamp> {
        self.state.tokens.iter().filter_map(Token::due).min()
    }

    /// What its expressions see.
    #[must_use]
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            variables: &self.state.variables,
            nodes: &self.state.results,
            execution: &self.facts,
            each: &self.each,
            now: self.now,
            budget: &self.expressions,
        }
    }

    /// A node of its definition.
    pub fn node(&self, id: &str) -> Result<Node> {
        self.plan
            .node(id)
            .cloned()
            .ok_or_else(|| Error::internal(format!("execution {} is at node {id}, which is not there", self.head.id)))
    }

    /// Whether it can still go on by itself.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.head.status, ExecutionStatus::Pending | ExecutionStatus::Running | ExecutionStatus::Waiting)
    }

    /// The contract's view of it.
    #[must_use]
    pub fn view(&self) -> Execution {
        view(self.head.clone(), self.state.clone())
    }
}

/// The contract's view of an execution.
#[must_use]
pub fn view(head: Head, state: State) -> Execution {
    // Where a person or a time is waited for says more than where a branch waits for another.
    let current = state.tokens.iter().find(|token| token.wait != Wait::Branches).or(state.tokens.first());
    let failed = state.error.as_ref().and_then(|error| error.node_id.clone());
    Execution {
        current_node: current.map(|token| token.node.clone()).or(failed),
        execution_id: head.id.into(),
        process_id: head.process.into(),
        version: head.version,
        status: head.status,
        started_at: head.started_at,
        completed_at: head.completed_at,
        initiator: Some(head.initiator),
        parent_execution_id: head.parent.map(Into::into),
        error: state.error,
        state: executions::State { variables: state.variables, node_states: state.node_states },
    }
}

/// The columns that [`from_row`] reads.
pub const COLUMNS: &str = "id, process_id, version, status, state, initiator, parent_id, started_at, completed_at";

/// Reads an execution of a tenant.
pub fn read(connection: &rusqlite::Connection, tenant: &str, id: &str) -> Result<Option<(Head, State)>> {
    let row = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM executions WHERE tenant_id = ?1 AND id = ?2"))?
        .query_row(params![tenant, id], from_row)
        .optional()?;
    row.map(|(head, state)| Ok((head, parse(&state)?))).transpose()
}

/// Reads one row; its state is still text.
pub fn from_row(row: &Row<'_>) -> rusqlite::Result<(Head, String)> {
    let head = Head {
        id: row.get(0)?,
        process: row.get(1)?,
        version: row.get(2)?,
        status: ExecutionStatus::from(row.get_ref(3)?.as_str()?),
        initiator: row.get(5)?,
        parent: row.get(6)?,
        started_at: Timestamp::from_millis(row.get(7)?),
        completed_at: row.get::<_, Option<i64>>(8)?.map(Timestamp::from_millis),
    };
    Ok((head, row.get(4)?))
}

/// Reads a stored document.
pub fn parse<T: serde::de::DeserializeOwned>(document: &str) -> Result<T> {
    serde_json::from_str(document).map_err(Error::internal)
}

/// Writes a document to store.
pub fn document<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(Error::internal)
}

/// The length of a value as JSON.
pub fn size_of<T: Serialize>(value: &T) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |text| text.len())
}

/// The definition of a version.
pub fn definition_of(connection: &rusqlite::Connection, tenant: &str, process: &str, version: &str) -> Result<Definition> {
    let text: String = connection
        .prepare_cached("SELECT definition FROM process_versions WHERE tenant_id = ?1 AND process_id = ?2 AND version = ?3")?
        .query_row(params![tenant, process, version], |row| row.get(0))?;
    parse(&text)
}

/// There is no such execution in the tenant.
#[must_use]
pub fn not_found(id: &str) -> Error {
    Error::new(Kind::NotFound, "FM-EES-NOT-FOUND", format!("there is no execution {}", crate::api::arguments::quote(id)))
        .hint(format!("{} shows the executions there are and their ids.", executions::List::SPEC.name))
}

fn facts_of(head: &Head) -> Map<String, Value> {
    let facts = json!({
        "id": head.id,
        "processId": head.process,
        "version": head.version,
        "initiator": head.initiator,
        "startedAt": head.started_at,
    });
    match facts {
        Value::Object(facts) => facts,
        _ => Map::new(),
    }
}
