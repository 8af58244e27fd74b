//! What a node does, read from its type and its configuration.

use serde_json::{Map, Value};

use super::agent::AgentCall;
use super::integration::IntegrationCall;
use super::notification::NotificationCall;
use super::reader::Reader;
use crate::api::processes::{Node, NodeKind};
use crate::api::tasks::Form;
use crate::api::tasks::forms;
use crate::api::{FieldError, Timestamp};
use crate::platform::engine::expressions::conditions::Expression;
use crate::platform::engine::expressions::fault::Fault;
use crate::platform::engine::expressions::template::Text;
use crate::platform::engine::expressions::times::{Zone, read_duration, read_time};

/// Longest time that a timer or a deadline may run: ten years.
const MAX_SECONDS: f64 = 10.0 * 366.0 * 86_400.0;

/// Most candidates of a task.
pub const MAX_CANDIDATES: usize = 20;
/// Most items of a list that a step works on at the same time.
const MAX_PARALLEL: u64 = 100;

/// What a node does.
#[derive(Debug, Clone)]
pub enum Step {
    /// Goes on.
    Start,
    /// Ends its branch.
    End,
    /// Waits for a person.
    HumanTask(Box<HumanTask>),
    /// Computes.
    Script(Script),
    /// Divides and joins.
    Gateway(Mode),
    /// Waits for a time.
    Timer(Timer),
    /// Runs another process.
    Subprocess(Subprocess),
    /// Calls an outside system.
    Integration(Box<IntegrationCall>),
    /// Asks an agent.
    Agent(Box<AgentCall>),
    /// Sends a notification.
    Notification(Box<NotificationCall>),
    /// Waits for a message, until a time if there is one.
    Message(Option<Timer>),
}

/// Which ways a gateway takes, and what it waits for where several lead to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The first whose condition holds; waits for nothing (xor).
    One,
    /// All; waits for all (and).
    All,
    /// All whose condition holds; waits for those that can still come (or).
    Some,
}

/// A task for a person.
#[derive(Debug, Clone, Default)]
pub struct HumanTask {
    /// User ids or roles: of several, each may answer.
    pub assignees: Vec<Text>,
    /// What is to be done.
    pub title: Option<Text>,
    /// What one should know.
    pub description: Option<Text>,
    /// What is asked.
    pub form: Option<Form>,
    /// How long it may take, in seconds.
    pub seconds: Option<f64>,
    /// Who gets it when it is late.
    pub chain: Vec<String>,
    /// The permission required to respond.
    pub requires: Option<String>,
    /// When its time is over, and it is left by another way.
    pub timeout: Option<Timer>,
}

/// A computation.
#[derive(Debug, Clone)]
pub struct Script {
    /// The CEL expression.
    pub expression: String,
    /// The variable that the result goes to; without one the fields of an object become variables.
    pub output: Option<String>,
}

/// A wait for a time.
#[derive(Debug, Clone)]
pub enum Timer {
    /// So many seconds.
    Seconds(f64),
    /// Until then.
    Until(Timestamp),
    /// A CEL expression that gives seconds or a time, and where a day begins that it gives.
    Computed(String, Option<Zone>),
}

/// A run of another process.
#[derive(Debug, Clone)]
pub struct Subprocess {
    /// The process.
    pub process: String,
    /// Its version; the latest published one if absent.
    pub version: Option<String>,
    /// What it is started with; all variables if absent. A text that begins with `=` is an expression.
    pub variables: Option<Map<String, Value>>,
}

/// A list that a step works through.
#[derive(Debug, Clone)]
pub struct ForEach {
    /// The CEL expression that gives the list.
    pub list: String,
    /// How many items are done at the same time.
    pub parallel: usize,
}

/// How a step is undone.
#[derive(Debug, Clone)]
pub enum Undo {
    /// By computing.
    Script(Script),
    /// By a person.
    HumanTask(Box<HumanTask>),
    /// By a call of an outside system.
    Integration(Box<IntegrationCall>),
}

impl Undo {
    /// The paths that undoing reads.
    pub fn reads(&self) -> Result<Vec<Vec<String>>, Fault> {
        let mut paths = Vec::new();
        match self {
            Self::Script(script) => paths.extend(Expression::compile(&script.expression)?.paths()),
            Self::HumanTask(task) => {
                for text in task.assignees.iter().chain(&task.title).chain(&task.description) {
                    paths.extend(text.paths()?);
                }
            }
            Self::Integration(call) => {
                for (_, text) in call.texts() {
                    paths.extend(Text::read(text)?.paths()?);
                }
            }
        }
        Ok(paths)
    }
}

/// Reads what a node does. Pointers are below the node.
pub fn step_of(node: &Node) -> Result<Step, Vec<FieldError>> {
    let mut reader = Reader { config: &node.config, base: "/config".to_owned(), faults: Vec::new() };
    let step = match &node.kind {
        NodeKind::Start => Step::Start,
        NodeKind::End => Step::End,
        NodeKind::HumanTask => Step::HumanTask(Box::new(reader.human_task())),
        NodeKind::Script => Step::Script(reader.script()),
        NodeKind::Gateway => Step::Gateway(reader.mode()),
        NodeKind::Timer => Step::Timer(reader.timer()),
        NodeKind::Subprocess => Step::Subprocess(reader.subprocess()),
        NodeKind::AiAgent => Step::Agent(Box::new(reader.agent())),
        NodeKind::Integration => Step::Integration(Box::new(reader.integration())),
        NodeKind::Notification => Step::Notification(Box::new(reader.notification())),
        NodeKind::Message => {
            reader.output();
            Step::Message(reader.timeout())
        }
        NodeKind::Other(kind) => {
            let detail = format!("is {}; allowed are {}", crate::api::arguments::quote(kind), NodeKind::ALL.join(", "));
            return Err(vec![FieldError::new("/type", "NODE_TYPE", detail)]);
        }
    };
    if node.config.contains_key("onError") {
        match reader.word("onError") {
            _ if matches!(step, Step::Start | Step::End | Step::Gateway(_)) => {
                reader.fault("onError", "has no effect here: this step cannot fail");
            }
            Some(to) if to == node.id => {
                let detail = "leads into its own step, which would fail again and again; name another node";
                reader.faults.push(FieldError::new("/config/onError", "ON_ERROR_SELF", detail));
            }
            _ => {}
        }
    }
    if let Err(faults) = for_each_of(node) {
        reader.faults.extend(faults);
    }
    if reader.faults.is_empty() { Ok(step) } else { Err(reader.faults) }
}

/// Reads the list that a node works through, if it does.
pub fn for_each_of(node: &Node) -> Result<Option<ForEach>, Vec<FieldError>> {
    if !node.config.contains_key("forEach") && !node.config.contains_key("parallel") {
        return Ok(None);
    }
    let mut reader = Reader { config: &node.config, base: "/config".to_owned(), faults: Vec::new() };
    let works = matches!(
        node.kind,
        NodeKind::HumanTask | NodeKind::Script | NodeKind::Integration | NodeKind::AiAgent | NodeKind::Subprocess | NodeKind::Notification
    );
    let list = reader.word("forEach");
    if !works {
        reader.fault(
            "forEach",
            "has no effect here: people, scripts, integrations, agents, notifications and subprocesses work through lists",
        );
    } else if list.is_none() && reader.faults.is_empty() {
        reader.fault("forEach", "is missing: an expression that gives a list, such as variables.items");
    }
    let parallel = match node.config.get("parallel") {
        None | Some(Value::Null) => 1,
        Some(parallel) => {
            if let Some(parallel @ 1..=MAX_PARALLEL) = parallel.as_u64() {
                usize::try_from(parallel).unwrap_or(1)
            } else {
                reader.fault("parallel", format!("must be a whole number from 1 to {MAX_PARALLEL}"));
                1
            }
        }
    };
    match list {
        Some(list) if reader.faults.is_empty() => Ok(Some(ForEach { list, parallel })),
        _ => Err(reader.faults),
    }
}

/// The mode of a gateway; none of what is not one.
#[must_use]
pub fn mode_of(node: &Node) -> Option<Mode> {
    match step_of(node) {
        Ok(Step::Gateway(mode)) => Some(mode),
        _ => None,
    }
}

/// Reads how a node is undone, if it says so.
pub fn undo_of(node: &Node) -> Result<Option<Undo>, Vec<FieldError>> {
    let Some(given) = node.config.get("compensate") else { return Ok(None) };
    let base = "/config/compensate".to_owned();
    let Some(fields) = given.as_object() else {
        return Err(vec![FieldError::new(base, "CONFIG", r#"must be an object such as {"type": "script", "expression": "…"}"#)]);
    };
    let mut reader = Reader { config: fields, base, faults: Vec::new() };
    let undo = match fields.get("type").and_then(Value::as_str) {
        Some("script") => Undo::Script(reader.script()),
        Some("human_task") => Undo::HumanTask(Box::new(reader.human_task())),
        Some("integration") => Undo::Integration(Box::new(reader.integration())),
        _ => {
            reader.fault("type", "must be script, human_task or integration");
            return Err(reader.faults);
        }
    };
    if reader.faults.is_empty() { Ok(Some(undo)) } else { Err(reader.faults) }
}

/// The names that a configuration of that type knows; others are kept and have no effect.
#[must_use]
pub fn known_names(kind: &NodeKind) -> Option<&'static [&'static str]> {
    Some(match kind {
        NodeKind::Start | NodeKind::End => &[],
        NodeKind::HumanTask => &[
            "assignee",
            "title",
            "description",
            "form",
            "sla",
            "escalationChain",
            "requires",
            "output",
            "timeout",
            "timeZone",
            "forEach",
            "parallel",
            "onError",
            "compensate",
        ],
        NodeKind::Script => &["expression", "output", "forEach", "parallel", "onError", "compensate"],
        NodeKind::Gateway => &["mode"],
        NodeKind::Timer => &["seconds", "until", "timeZone", "onError", "compensate"],
        NodeKind::Subprocess => &["processId", "version", "variables", "output", "forEach", "parallel", "onError", "compensate"],
        NodeKind::AiAgent => {
            &["agentId", "prompt", "context", "model", "temperature", "maxTokens", "output", "forEach", "parallel", "onError", "compensate"]
        }
        NodeKind::Integration => {
            &["integrationId", "method", "path", "query", "body", "output", "forEach", "parallel", "onError", "compensate"]
        }
        NodeKind::Notification => {
            &["templateId", "recipient", "variables", "channels", "output", "forEach", "parallel", "onError", "compensate"]
        }
        NodeKind::Message => &["timeout", "timeZone", "output", "onError", "compensate"],
        NodeKind::Other(_) => return None,
    })
}

impl Reader<'_> {
    fn human_task(&mut self) -> HumanTask {
        self.output();
        let mut task = HumanTask {
            assignees: self.assignees(),
            title: self.text("title"),
            description: self.text("description"),
            requires: self.word("requires"),
            timeout: self.timeout(),
            ..HumanTask::default()
        };
        if let Some(form) = self.config.get("form").filter(|form| !form.is_null()) {
            match serde_json::from_value::<Form>(form.clone()) {
                Ok(form) => {
                    let base = format!("{}/form", self.base);
                    let faults = forms::faults_of(&form);
                    self.faults
                        .extend(faults.into_iter().map(|fault| FieldError::new(format!("{base}{}", fault.pointer), "FORM", fault.detail)));
                    task.form = Some(form);
                }
                Err(error) => self.fault("form", format!("is not a form: {error}. Write {{\"fields\": [{{\"name\": …, \"type\": …}}]}}")),
            }
        }
        if let Some(sla) = self.config.get("sla").filter(|sla| !sla.is_null()) {
            match sla.get("hoursToComplete").and_then(Value::as_f64) {
                Some(hours) if hours > 0.0 && hours * 3600.0 <= MAX_SECONDS => task.seconds = Some(hours * 3600.0),
                _ => self.fault("sla", r#"must be {"hoursToComplete": hours}, more than 0 and at most ten years"#),
            }
        }
        match self.config.get("escalationChain") {
            None | Some(Value::Null) => {}
            Some(Value::Array(chain)) if chain.len() <= 20 && chain.iter().all(|who| who.as_str().is_some_and(|who| !who.is_empty())) => {
                task.chain = chain.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            }
            Some(_) => self.fault("escalationChain", "must be a list of at most 20 user ids or roles"),
        }
        task
    }

    fn script(&mut self) -> Script {
        let expression = self.word("expression").unwrap_or_else(|| {
            if !self.config.contains_key("expression") {
                self.fault("expression", "is missing: a CEL expression such as variables.amount * 2");
            }
            String::new()
        });
        Script { expression, output: self.output() }
    }

    fn mode(&mut self) -> Mode {
        match self.config.get("mode").map(|mode| mode.as_str().unwrap_or_default()) {
            None | Some("xor") => Mode::One,
            Some("and") => Mode::All,
            Some("or") => Mode::Some,
            Some(other) => {
                let detail = format!(
                    "is {}; allowed are xor (one way), or (each that holds) and and (all ways)",
                    crate::api::arguments::quote(other)
                );
                self.fault("mode", detail);
                Mode::One
            }
        }
    }

    /// One assignee, or a list of candidates.
    fn assignees(&mut self) -> Vec<Text> {
        let Some(Value::Array(candidates)) = self.config.get("assignee") else { return self.text("assignee").into_iter().collect() };
        let named = |who: &Value| who.as_str().is_some_and(|who| !who.is_empty() && who.len() <= 2048);
        if candidates.is_empty() || candidates.len() > MAX_CANDIDATES || !candidates.iter().all(named) {
            self.fault("assignee", format!("must be a user id or a role, or a list of 1 to {MAX_CANDIDATES} of them"));
            return Vec::new();
        }
        let mut texts = Vec::new();
        for (place, source) in candidates.iter().filter_map(Value::as_str).enumerate() {
            match Text::read(source) {
                Ok(text) => texts.push(text),
                Err(fault) => self.fault(&format!("assignee/{place}"), fault.message),
            }
        }
        texts
    }

    /// When the time of a task is over; where it leads then is one of the node's exits.
    fn timeout(&mut self) -> Option<Timer> {
        let given = self.config.get("timeout").filter(|timeout| !timeout.is_null())?;
        if given.get("to").and_then(Value::as_str).is_none_or(str::is_empty) {
            self.fault("timeout/to", "is missing: the node that is next when the time is over");
        }
        let zone = self.zone();
        let after = match given.get("after") {
            Some(Value::String(text)) if text.starts_with('=') => Some(Timer::Computed(text.clone(), zone)),
            Some(after) => timer_of(after, zone),
            None => None,
        };
        if after.is_none() {
            self.fault(
                "timeout/after",
                "must be a number of seconds, a duration such as PT48H, a time, or an expression that begins with =",
            );
        }
        after
    }

    /// The time zone in which days begin at a node.
    fn zone(&mut self) -> Option<Zone> {
        let given = self.config.get("timeZone").filter(|zone| !zone.is_null())?;
        let zone = given.as_str().and_then(Zone::read);
        if zone.is_none() {
            self.fault("timeZone", "must be a time zone such as Europe/Berlin, UTC, or an offset such as +02:00");
        }
        zone
    }

    fn timer(&mut self) -> Timer {
        let zone = self.zone();
        match (self.config.get("seconds"), self.config.get("until")) {
            (Some(Value::String(text)), None) | (None, Some(Value::String(text))) if text.starts_with('=') => {
                Timer::Computed(text.clone(), zone)
            }
            (Some(seconds), None) => {
                if let Some(timer @ Timer::Seconds(_)) = timer_of(seconds, zone) {
                    return timer;
                }
                self.fault("seconds", "must be a number from 0 to ten years, a duration such as PT1H, or an expression that begins with =");
                Timer::Seconds(0.0)
            }
            (None, Some(until)) => {
                if let Some(timer @ Timer::Until(_)) = timer_of(until, zone) {
                    return timer;
                }
                self.fault("until", "must be a day or an RFC 3339 time such as 2025-02-07T10:00:00Z, or an expression that begins with =");
                Timer::Seconds(0.0)
            }
            _ => {
                self.fault("seconds", "a timer needs either seconds or until");
                Timer::Seconds(0.0)
            }
        }
    }

    fn subprocess(&mut self) -> Subprocess {
        self.output();
        let process = self.word("processId").unwrap_or_else(|| {
            if !self.config.contains_key("processId") {
                self.fault("processId", "is missing: the process to run");
            }
            String::new()
        });
        let variables = match self.config.get("variables") {
            None | Some(Value::Null) => None,
            Some(Value::Object(fields)) => Some(fields.clone()),
            Some(_) => {
                self.fault("variables", "must be an object; a text that begins with = is an expression");
                None
            }
        };
        Subprocess { process, version: self.word("version"), variables }
    }
}

/// Seconds or a point in time, as configuration or an expression gives them; a day begins in the zone.
#[must_use]
pub fn timer_of(value: &Value, zone: Option<Zone>) -> Option<Timer> {
    match value {
        Value::Number(seconds) => seconds.as_f64().filter(|seconds| (0.0..=MAX_SECONDS).contains(seconds)).map(Timer::Seconds),
        Value::String(text) => match (read_time(text, zone), read_duration(text)) {
            (Some(time), _) => Some(Timer::Until(Timestamp::from_millis(time.timestamp_millis()))),
            (None, Some(duration)) => timer_of(&Value::from(duration.as_seconds_f64()), zone),
            (None, None) => None,
        },
        _ => None,
    }
}
