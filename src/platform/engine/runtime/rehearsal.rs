//! A trial run: the engine as it is, on a stage where nothing is kept, without waiting for anybody.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::start::Begin;
use super::{history, run};
use crate::api::processes::{Node, Sandbox, Trial};
use crate::api::tasks::Form;
use crate::api::tasks::forms;
use crate::error::Result;
use crate::platform::database::Tx;
use crate::platform::engine::expressions::values;
use crate::platform::engine::{Engine, Stop};

/// Most entries of a trace.
const MAX_TRACE: usize = 1_000;

/// What people and services would answer, by node: one answer for every pass, or a list with one for each.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    given: Map<String, Value>,
    /// Number of passes so far of the nodes that have a list.
    passed: HashMap<String, usize>,
}

impl Answers {
    /// The answers before the first step.
    #[must_use]
    pub fn new(given: Map<String, Value>) -> Self {
        Self { given, passed: HashMap::new() }
    }

    /// The answer to the next pass of a node; none where nothing is given for the node.
    pub(crate) fn next(&mut self, node: &str) -> Result<Option<Value>, Stop> {
        let Some(given) = self.given.get(node) else { return Ok(None) };
        let Value::Array(list) = given else { return Ok(Some(given.clone())) };
        let pass = self.passed.entry(node.to_owned()).or_default();
        let Some(answer) = list.get(*pass) else {
            return Err(Stop::failed(
                "FM-EES-ANSWERS-SHORT",
                format!(
                    "{node} is passed {} times, but the list has {} answers; add one for each pass, or give one answer without a list \
                     for every pass",
                    *pass + 1,
                    list.len()
                ),
            ));
        };
        *pass += 1;
        Ok(Some(answer.clone()))
    }
}

/// Tries a process out, in a transaction of the stage.
pub fn rehearse(tx: &mut Tx<'_>, trial: Sandbox) -> Result<Trial> {
    let begin = Begin {
        process: trial.id.0,
        version: trial.version,
        variables: trial.variables.unwrap_or_default(),
        initiator: tx.scope().actor.clone(),
        parent: None,
    };
    let run = Engine::rehearsing(tx, trial.answers.unwrap_or_default()).start(begin)?;
    let trace = history::list(tx, tx.scope().tenant.as_str(), &run.head.id, 0, MAX_TRACE)?;
    let view = run::view(run.head, run.state);
    Ok(Trial {
        version: view.version,
        status: view.status.to_string(),
        current_node: view.current_node,
        trace,
        state: view.state,
        error: view.error,
    })
}

/// Whether an answer stands for nobody answering in time: `{"timesOut": true}`.
pub(crate) fn times_out(node: &Node, answer: &Value) -> Result<bool, Stop> {
    if answer.get("timesOut") != Some(&Value::Bool(true)) {
        return Ok(false);
    }
    if node.config.contains_key("timeout") {
        return Ok(true);
    }
    Err(Stop::failed("FM-EES-ANSWER", format!("the answer for {} lets its time pass, but it has no config.timeout", node.id)))
}

/// Fails where an answer stands for a failure: `{"fails": "the reason"}`.
pub(crate) fn fails(answer: &Value) -> Result<(), Stop> {
    match answer.as_object().filter(|fields| fields.len() == 1).and_then(|fields| fields.get("fails")) {
        Some(reason) => Err(Stop::failed("FM-EES-REHEARSED", reason.as_str().map_or_else(|| reason.to_string(), str::to_owned))),
        None => Ok(()),
    }
}

/// Checks what a person would answer, as if they did.
pub(crate) fn check(node: &Node, form: Option<&Form>, answer: &Value) -> Result<Value, Stop> {
    let wrong = |message: String| Stop::failed("FM-EES-ANSWER", message);
    let fields = match answer {
        Value::String(decision) => Map::from_iter([("decision".to_owned(), json!(decision))]),
        Value::Object(fields) => fields.clone(),
        _ => return Err(wrong(format!("the answer for {} must be an object such as {{\"decision\": \"approve\"}}", node.id))),
    };
    let decision = fields.get("decision").and_then(Value::as_str).unwrap_or_default();
    if decision.is_empty() {
        return Err(wrong(format!("the answer for {} has no decision", node.id)));
    }
    let comments = fields.get("comments").and_then(Value::as_str);
    let mut data = fields.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
    data.extend(
        fields
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "decision" | "comments" | "data"))
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    if let Some(form) = form {
        let faults = forms::check_answer(form, decision, comments, &data);
        if !faults.is_empty() {
            let said: Vec<String> =
                faults.into_iter().map(|fault| format!("{} {}", fault.pointer.trim_start_matches('/'), fault.detail)).collect();
            return Err(wrong(format!("the answer for {} does not fit its form: {}", node.id, said.join("; "))));
        }
        data = values::settled(form, data);
    }
    Ok(result_of(decision, comments, &data))
}

/// What an answer is to the process: the decision, the comments and the other fields beside them.
#[must_use]
pub fn result_of(decision: &str, comments: Option<&str>, data: &Map<String, Value>) -> Value {
    let mut result = data.clone();
    result.insert("decision".to_owned(), json!(decision));
    if let Some(comments) = comments {
        result.insert("comments".to_owned(), json!(comments));
    }
    Value::Object(result)
}
