//! Starting an execution of a published version, or of a draft in a rehearsal.

use rusqlite::{OptionalExtension as _, params};
use semver::Version;
use serde_json::{Map, Value, json};

use super::history;
use super::run::{Head, MAX_VARIABLES, Run, definition_of, size_of};
use crate::api::arguments::quote;
use crate::api::executions::ExecutionStatus;
use crate::api::processes::{Publish, Sandbox, Variable, Versions};
use crate::api::{FieldError, Operation as _};
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;
use crate::platform::engine::definition::Definition;
use crate::platform::engine::expressions::values::settle;
use crate::platform::engine::{Engine, Mode};

/// Most versions that an error names.
const MAX_NAMED: usize = 20;

/// What is to be started.
#[derive(Debug)]
pub struct Begin {
    /// The process.
    pub process: String,
    /// The version; the latest published one if absent.
    pub version: Option<String>,
    /// What it works on.
    pub variables: Map<String, Value>,
    /// Who it is started for.
    pub initiator: String,
    /// The execution above and the depth below it.
    pub parent: Option<(String, u32)>,
}

impl Engine<'_, '_> {
    /// Starts an execution and runs it until it waits or ends.
    pub fn start(&mut self, begin: Begin) -> Result<Run> {
        self.begin(begin)
    }

    /// Refuses what could not be started as things are now.
    pub fn check(&self, begin: &Begin) -> Result<()> {
        self.admit(begin).map(drop)
    }

    /// The version to run and its definition, where it takes the variables.
    fn admit(&self, begin: &Begin) -> Result<(String, Definition)> {
        let (version, definition) = self.find(&begin.process, begin.version.as_deref())?;
        let faults = check_variables(&definition.variables, &begin.variables);
        if !faults.is_empty() {
            return Err(Error::new(Kind::Invalid, "FM-EES-VARIABLES", "the variables are not those that the process declares")
                .with_fields(faults)
                .hint(format!("{} shows what a process declares.", Versions::SPEC.name)));
        }
        if size_of(&begin.variables) > MAX_VARIABLES {
            return Err(Error::new(Kind::TooLarge, "FM-EES-VARIABLES-TOO-LARGE", format!("variables hold at most {MAX_VARIABLES} bytes")));
        }
        Ok((version, definition))
    }

    /// As [`Engine::start`], with what the execution above hands down.
    pub(crate) fn begin(&mut self, begin: Begin) -> Result<Run> {
        let (version, definition) = self.admit(&begin)?;
        let (parent, depth) = begin.parent.unzip();
        let head = Head {
            id: self.tx.mint("exec"),
            process: begin.process,
            version,
            status: ExecutionStatus::Running,
            initiator: begin.initiator,
            parent,
            started_at: self.tx.now(),
            completed_at: None,
        };
        let mut run = Run::new(self.tx, head, &definition, settled(&definition.variables, begin.variables), depth.unwrap_or_default());
        run.insert(self.tx)?;
        let head = &run.head;
        let said = json!({ "processId": head.process, "version": head.version, "initiator": head.initiator });
        history::append(self.tx, &head.id, "execution.started", None, said)?;
        let data = json!({
            "executionId": head.id, "processId": head.process, "version": head.version, "status": "running",
            "initiator": head.initiator, "parentExecutionId": head.parent,
        });
        self.tx.emit("execution.started", &head.id, data)?;
        self.audit_status("execution.started", &run, None)?;
        self.drive(&mut run)?;
        Ok(run)
    }

    /// The version to run and its definition.
    fn find(&self, process: &str, version: Option<&str>) -> Result<(String, Definition)> {
        let drafts = matches!(self.mode, Mode::Rehearsal(_));
        let found = versions_of(self.tx, process)?;
        if found.is_empty() {
            return Err(Error::new(Kind::NotFound, "FM-EES-PROCESS-NOT-FOUND", format!("there is no process {}", quote(process)))
                .hint("processes_list shows the processes and their ids."));
        }
        let chosen = match version {
            Some(wanted) => found.iter().find(|(version, _)| version == wanted).ok_or_else(|| {
                let known: Vec<&str> = found.iter().map(|(version, _)| version.as_str()).take(MAX_NAMED).collect();
                Error::new(
                    Kind::NotFound,
                    "FM-EES-VERSION-NOT-FOUND",
                    format!("process {process} has no version {}; there are {}", quote(wanted), known.join(", ")),
                )
            })?,
            None => found
                .iter()
                .filter(|(_, published)| *published)
                .max_by_key(|(version, _)| Version::parse(version).ok())
                .or_else(|| found.first().filter(|_| drafts))
                .ok_or_else(|| not_published(process, &found[0].0))?,
        };
        let (version, published) = chosen;
        if !published && !drafts {
            return Err(not_published(process, version));
        }
        Ok((version.clone(), definition_of(self.tx, self.tx.tenant(), process, version)?))
    }
}

fn not_published(process: &str, version: &str) -> Error {
    Error::new(Kind::Conflict, "FM-EES-NOT-PUBLISHED", format!("version {version} of process {process} is a draft and cannot be started"))
        .hint(format!("Publish it first with {}; {} tries a draft out.", Publish::SPEC.name, Sandbox::SPEC.name))
}

/// All versions of a process, newest first, and whether they are published.
fn versions_of(tx: &Tx<'_>, process: &str) -> Result<Vec<(String, bool)>> {
    let exists: Option<i64> = tx
        .prepare_cached("SELECT 1 FROM processes WHERE tenant_id = ?1 AND id = ?2")?
        .query_row(params![tx.scope().tenant.as_str(), process], |row| row.get(0))
        .optional()?;
    if exists.is_none() {
        return Ok(Vec::new());
    }
    let mut statement = tx.prepare_cached(
        "SELECT version, status = 'published' FROM process_versions WHERE tenant_id = ?1 AND process_id = ?2 ORDER BY ordinal DESC",
    )?;
    let rows = statement.query_map(params![tx.scope().tenant.as_str(), process], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The variables with numbers of the kinds that are declared.
fn settled(declared: &[Variable], mut given: Map<String, Value>) -> Map<String, Value> {
    for variable in declared {
        if let (Some(kind), Some(value)) = (&variable.kind, given.get_mut(&variable.name)) {
            *value = settle(kind, value.take());
        }
    }
    given
}

/// What is wrong with the variables of a start.
pub(crate) fn check_variables(declared: &[Variable], given: &Map<String, Value>) -> Vec<FieldError> {
    let mut faults = Vec::new();
    for variable in declared {
        let pointer = format!("/variables/{}", variable.name.replace('~', "~0").replace('/', "~1"));
        let Some(value) = given.get(&variable.name).filter(|value| !value.is_null()) else {
            if variable.required.unwrap_or_default() {
                faults.push(FieldError::new(pointer, "required", "is missing: the process declares it as required"));
            }
            continue;
        };
        let kind = variable.kind.as_deref().unwrap_or_default();
        let fits = match kind {
            "string" => value.is_string(),
            "number" => value.is_number(),
            "integer" => settle(kind, value.clone()).as_number().is_some_and(|number| !number.is_f64()),
            "boolean" => value.is_boolean(),
            "object" => value.is_object(),
            "array" => value.is_array(),
            _ => true,
        };
        if !fits {
            faults.push(FieldError::new(pointer, "type", format!("must be of the type {kind}")));
        }
    }
    faults
}
