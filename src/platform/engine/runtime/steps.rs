//! What each type of node does when a token comes to it.

use serde_json::{Map, Value, json};

use super::rounds::take_item;
use super::run::{Run, Token, Wait};
use super::start::Begin;
use super::tasks::{self, NewTask};
use super::variables::{set_variable, set_variables};
use super::work::WorkKind;
use super::{history, rehearsal};
use crate::api::Timestamp;
use crate::api::arguments::quote;
use crate::api::executions::ExecutionStatus;
use crate::api::processes::Node;
use crate::platform::engine::definition::config::{self, HumanTask, Mode, Script, Step, Subprocess, Timer};
use crate::platform::engine::definition::exits::Exit;
use crate::platform::engine::expressions::conditions::Expression;
use crate::platform::engine::{self, Engine, Stop};

/// How many subprocesses may be below one another.
const MAX_DEPTH: u32 = 8;

impl Engine<'_, '_> {
    /// Does what the node at a token does.
    pub(crate) fn step(&mut self, run: &mut Run, place: usize, token: &Token) -> Result<(), Stop> {
        let Some(node) = run.plan.node(&token.node).cloned() else {
            // A draft that is tried out may have faults.
            return Err(Stop::failed("FM-EES-UNKNOWN-NODE", format!("a connection leads to {}, which there is not", quote(&token.node))));
        };
        let step = config::step_of(&node)?;
        if let Step::Gateway(mode @ (Mode::All | Mode::Some)) = step
            && token.via.is_some()
            && run.plan.entering(&node.id).len() > 1
        {
            return self.join(run, place, &node, mode);
        }
        run.state.node_states.insert(node.id.clone(), json!("running"));
        if let Some(item) = &token.item {
            take_item(run, &node, item)?;
        } else {
            run.each = Map::new();
            history::append(self.tx, &run.head.id, "node.started", Some(&node.id), json!({ "type": node.kind }))?;
            if let Some(each) = config::for_each_of(&node)? {
                return self.begin_round(run, place, &node, &each);
            }
        }
        match step {
            Step::Start | Step::End | Step::Gateway(_) => self.leave(run, place, &node, Value::Null),
            Step::Script(script) => {
                let result = compute(run, &script)?;
                if script.output.is_none() && token.item.is_none() {
                    assign(run, &script, &result)?;
                }
                self.done(run, place, &node, result)
            }
            Step::HumanTask(task) => self.ask(run, place, &node, &task),
            Step::Timer(timer) => self.wait_for_time(run, place, &node, timer),
            Step::Subprocess(subprocess) => self.run_below(run, place, &node, subprocess),
            Step::Integration(call) => {
                let request = call.request(run.facts())?;
                self.hand_over(run, place, &node, WorkKind::Integration, &request)
            }
            Step::Agent(call) => {
                let request = call.request(run.facts())?;
                self.hand_over(run, place, &node, WorkKind::Agent, &request)
            }
            Step::Notification(call) => {
                let request = call.request(run.facts())?;
                self.hand_over(run, place, &node, WorkKind::Notification, &request)
            }
            Step::Message(timeout) => self.wait_for_message(run, place, &node, timeout),
        }
    }

    /// Makes a task, or takes the answer that a rehearsal brings.
    fn ask(&mut self, run: &mut Run, place: usize, node: &Node, task: &HumanTask) -> Result<(), Stop> {
        let new = new_task(run, node, task)?;
        if let engine::Mode::Rehearsal(answers) = &mut self.mode
            && let Some(answer) = answers.next(&node.id)?
        {
            self.goes_on_later();
            if rehearsal::times_out(node, &answer)? {
                return self.time_over(run, place, node);
            }
            let answer = rehearsal::check(node, new.form.as_ref(), &answer)?;
            return self.done(run, place, node, answer);
        }
        let until = task.timeout.clone().map(|timeout| self.time_of(run, timeout)).transpose()?;
        let made = tasks::create(self.tx, &new)?;
        let token = &mut run.state.tokens[place];
        (token.wait, token.until) = (Wait::Task(made.task_id.0.clone()), until);
        self.waits(
            run,
            node,
            json!({ "taskId": made.task_id, "assignedTo": made.assigned_to, "candidates": tasks::candidates_of(&made), "until": until }),
        )
    }

    /// The time of a task or of a wait for a message is over: the node is left by its other way.
    pub(crate) fn time_over(&mut self, run: &mut Run, place: usize, node: &Node) -> Result<(), Stop> {
        let said = json!({ "timedOut": true, "at": self.tx.now() });
        run.state.node_states.insert(node.id.clone(), json!("timed_out"));
        history::append(self.tx, &run.head.id, "node.timed_out", Some(&node.id), said.clone())?;
        if self.exit(run, place, Exit::TimedOut, said)? {
            Ok(())
        } else {
            Err(Stop::failed("FM-EES-CONFIG", "config.timeout names no node"))
        }
    }

    fn wait_for_time(&mut self, run: &mut Run, place: usize, node: &Node, timer: Timer) -> Result<(), Stop> {
        let until = self.time_of(run, timer)?;
        if matches!(self.mode, engine::Mode::Rehearsal(_)) {
            self.goes_on_later();
            return self.leave(run, place, node, json!({ "until": until }));
        }
        if until <= self.tx.now() {
            return self.leave(run, place, node, json!({ "until": until }));
        }
        run.state.tokens[place].wait = Wait::Until(until);
        self.waits(run, node, json!({ "until": until }))
    }

    /// The time that a timer stands for now.
    pub(crate) fn time_of(&self, run: &Run, timer: Timer) -> Result<Timestamp, Stop> {
        let timer = match timer {
            Timer::Computed(source, zone) => {
                let value = Expression::compile(&source)?.evaluate(run.facts())?;
                config::timer_of(&value, zone).ok_or_else(|| {
                    Stop::failed(
                        "FM-EES-TIMER",
                        format!(
                            "the timer's expression gives {}: neither seconds, a duration, a day nor an RFC 3339 time",
                            quote(&value.to_string())
                        ),
                    )
                })?
            }
            timer => timer,
        };
        Ok(match timer {
            Timer::Seconds(seconds) => self.tx.now().plus_seconds(seconds),
            Timer::Until(time) => time,
            Timer::Computed(..) => self.tx.now(),
        })
    }

    /// A time has come for which a token waits, or until which it waits for a person.
    pub(crate) fn ring(&mut self, run: &mut Run, place: usize) -> Result<(), Stop> {
        let token = run.state.tokens[place].clone();
        let node = run.node(&token.node)?;
        match token.wait {
            Wait::Task(task) => {
                tasks::cancel(self.tx, &task, "the time of the task is over")?;
                self.time_over(run, place, &node)
            }
            Wait::Message => self.time_over(run, place, &node),
            // The rest of a list.
            Wait::Until(_) if token.item.is_some() => {
                run.state.tokens[place].wait = Wait::Nothing;
                Ok(())
            }
            Wait::Until(until) => self.leave(run, place, &node, json!({ "until": until })),
            _ => {
                run.state.tokens[place].until = None;
                Ok(())
            }
        }
    }

    fn run_below(&mut self, run: &mut Run, place: usize, node: &Node, subprocess: Subprocess) -> Result<(), Stop> {
        if run.state.depth >= MAX_DEPTH {
            return Err(Stop::failed("FM-EES-DEPTH", format!("subprocesses are nested more than {MAX_DEPTH} levels deep")));
        }
        let mut variables = run.state.variables.clone();
        if let Some(given) = subprocess.variables {
            variables = Map::new();
            for (name, value) in given {
                let value = match value.as_str().filter(|text| text.starts_with('=')) {
                    Some(source) => Expression::compile(source)?.evaluate(run.facts())?,
                    None => value,
                };
                variables.insert(name, value);
            }
        }
        let begin = Begin {
            process: subprocess.process,
            version: subprocess.version,
            variables,
            initiator: run.head.initiator.clone(),
            parent: Some((run.head.id.clone(), run.state.depth + 1)),
        };
        let below = self.begin(begin).map_err(|error| match error.kind() {
            crate::error::Kind::Internal => Stop::Broken(error),
            _ => Stop::failed("FM-EES-SUBPROCESS", error.to_string()),
        })?;
        run.state.tokens[place].wait = Wait::Execution(below.head.id.clone());
        self.waits(run, node, json!({ "executionId": below.head.id }))?;
        if below.is_live() { Ok(()) } else { self.subprocess_ended(run, place, &below) }
    }

    /// A subprocess ended: its variables are the node's result.
    pub(crate) fn subprocess_ended(&mut self, run: &mut Run, place: usize, below: &Run) -> Result<(), Stop> {
        let node = run.node(&run.state.tokens[place].node)?;
        if below.head.status != ExecutionStatus::Completed {
            self.keep_below(run, &node.id, &below.head.id)?;
            let why = below.state.error.as_ref().map_or_else(String::new, |error| format!(": {} {}", error.code, error.message));
            let message = format!("subprocess {} is {}{why}", below.head.id, below.head.status);
            return Err(Stop::failed("FM-EES-SUBPROCESS", message));
        }
        let result = Value::Object(below.state.variables.clone());
        if !node.config.contains_key("compensate") {
            self.keep_below(run, &node.id, &below.head.id)?;
        }
        self.done(run, place, &node, result)
    }

    pub(crate) fn waits(&mut self, run: &mut Run, node: &Node, data: Value) -> Result<(), Stop> {
        run.state.node_states.insert(node.id.clone(), json!("waiting"));
        history::append(self.tx, &run.head.id, "node.waiting", Some(&node.id), data)?;
        Ok(())
    }
}

/// Computes a script.
pub(crate) fn compute(run: &Run, script: &Script) -> Result<Value, Stop> {
    Ok(Expression::compile(&script.expression)?.evaluate(run.facts())?)
}

/// Sets the variables of a script that was computed, and answers their names.
pub(crate) fn assign(run: &mut Run, script: &Script, result: &Value) -> Result<Vec<String>, Stop> {
    match (&script.output, result) {
        (Some(output), result) => {
            set_variable(run, output, result.clone())?;
            Ok(vec![output.clone()])
        }
        (None, Value::Object(fields)) => {
            set_variables(run, fields.clone())?;
            Ok(fields.keys().cloned().collect())
        }
        (None, _) => Ok(Vec::new()),
    }
}

/// The task that a node asks for.
pub(crate) fn new_task(run: &Run, node: &Node, task: &HumanTask) -> Result<NewTask, Stop> {
    let render = |text: &Option<crate::platform::engine::expressions::template::Text>| {
        text.as_ref().map(|text| text.render(run.facts())).transpose()
    };
    let title = render(&task.title)?.or_else(|| node.name.clone()).unwrap_or_else(|| format!("{} of {}", node.id, run.head.process));
    Ok(NewTask {
        execution: Some(run.head.id.clone()),
        node: Some(node.id.clone()),
        title: title.chars().take(500).collect(),
        description: render(&task.description)?,
        assignees: assignees_of(run, task)?,
        form: task.form.clone(),
        requires: task.requires.clone(),
        seconds: task.seconds,
        chain: task.chain.clone(),
    })
}

/// Those whom a task is for, each once.
fn assignees_of(run: &Run, task: &HumanTask) -> Result<Vec<String>, Stop> {
    let mut assignees: Vec<String> = Vec::new();
    for text in &task.assignees {
        for who in text.render_all(run.facts())? {
            if !who.is_empty() && !assignees.contains(&who) {
                assignees.push(who);
            }
        }
    }
    if assignees.len() > config::MAX_CANDIDATES {
        let message =
            format!("the task would be for {} people and roles; at most {} may be named", assignees.len(), config::MAX_CANDIDATES);
        return Err(Stop::failed("FM-EES-TOO-MANY-CANDIDATES", message));
    }
    Ok(assignees)
}
