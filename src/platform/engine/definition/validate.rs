//! Everything that can be said of a process before it runs. Compiles expressions, so it needs a large stack.

use std::collections::HashSet;

use serde_json::Value;

use super::Definition;
use super::config::{self, ForEach, HumanTask, Script, Step, Subprocess, Timer, Undo};
use super::findings::Findings;
use super::graph;
use super::meaning::Shapes;
use crate::api::arguments::quote;
use crate::api::near::nearest;
use crate::api::permission;
use crate::api::processes::{Node, NodeKind};
use crate::platform::engine::expressions::conditions::Expression;
use crate::platform::engine::expressions::fault::Fault;
use crate::platform::engine::expressions::shape::Shape;
use crate::platform::engine::expressions::template::{Piece, Text};

/// What a step that works through a list knows of an item.
const EACH: [&str; 3] = ["item", "index", "count"];

/// The types that a variable can be declared with.
pub const VARIABLE_TYPES: [&str; 6] = ["string", "number", "integer", "boolean", "object", "array"];

/// Checks a definition.
#[must_use]
pub fn validate(definition: &Definition) -> Findings {
    let mut findings = Findings::default();
    graph::examine(definition, &mut findings);
    check_variables(definition, &mut findings);
    let known = Known::of(definition);
    for (place, node) in definition.nodes.iter().enumerate() {
        if findings.is_full() {
            return findings;
        }
        Check { node, base: format!("/nodes/{place}"), known: &known, findings: &mut findings }.run();
    }
    for (place, edge) in definition.edges.iter().enumerate() {
        if findings.is_full() {
            break;
        }
        let Some(condition) = &edge.condition else { continue };
        let node = definition.nodes.iter().find(|node| node.id == edge.from);
        let pointer = format!("/edges/{place}/condition");
        if Expression::compile(condition).is_ok_and(|condition| condition.paths().is_empty()) {
            let message = "the condition reads nothing, so it is always the same; remove the condition or the edge";
            findings.warning("CONSTANT_CONDITION", node, &pointer, message);
        }
        check_expression(condition, node, pointer, &known, &mut findings);
    }
    findings
}

fn check_variables(definition: &Definition, findings: &mut Findings) {
    let mut names = HashSet::new();
    for (place, variable) in definition.variables.iter().enumerate() {
        if variable.name.is_empty() || variable.name.len() > 100 || !names.insert(&variable.name) {
            findings.error(
                "VARIABLE",
                None,
                format!("/variables/{place}/name"),
                "a variable has a name of its own, of 1 to 100 characters",
            );
        }
        if let Some(kind) = variable.kind.as_deref().filter(|kind| !VARIABLE_TYPES.contains(kind)) {
            let message = format!("{} is not a type; allowed are {}", quote(kind), VARIABLE_TYPES.join(", "));
            findings.error("VARIABLE", None, format!("/variables/{place}/type"), message);
        }
    }
}

/// What expressions can refer to.
struct Known<'d> {
    nodes: HashSet<&'d str>,
    /// Variables by name, where all of them are known.
    variables: Option<HashSet<&'d str>>,
    shapes: Shapes,
}

impl<'d> Known<'d> {
    fn of(definition: &'d Definition) -> Self {
        let declared = definition.variables.iter().map(|variable| variable.name.as_str());
        let outputs = definition.nodes.iter().flat_map(|node| {
            let undo = node.config.get("compensate").and_then(|undo| undo.get("output"));
            node.config.get("output").into_iter().chain(undo).filter_map(|name| name.as_str())
        });
        // A script without output sets variables by what it computes, and a start may give more than what is declared.
        let mut open = false;
        let mut set = Vec::new();
        for node in definition.nodes.iter().filter(|node| node.kind == NodeKind::Script && !node.config.contains_key("output")) {
            match node.config.get("expression").and_then(Value::as_str).map(fields_of) {
                Some(Some(fields)) => set.extend(fields),
                Some(None) => open = true,
                None => {}
            }
        }
        Self {
            nodes: definition.nodes.iter().map(|node| node.id.as_str()).collect(),
            shapes: Shapes::of(definition),
            variables: (!open).then(|| declared.chain(outputs).chain(set).collect()),
        }
    }
}

/// The texts within an object that a script computes, its fields' names among them; none where it may compute any object.
fn fields_of(expression: &str) -> Option<Vec<&str>> {
    let source = expression.trim();
    let is_object = source.starts_with('{') && source.ends_with('}');
    let computes_text = source.contains('{') || source.contains("variables") || source.contains("nodes");
    match (is_object, computes_text) {
        (true, _) => Some(source.split(['"', '\'']).skip(1).step_by(2).collect()),
        (false, true) => None,
        // A constant has no fields.
        (false, false) => Some(Vec::new()),
    }
}

fn check_expression(source: &str, node: Option<&Node>, pointer: String, known: &Known<'_>, findings: &mut Findings) {
    match Expression::compile(source) {
        Err(Fault { code, message }) => findings.error(code, node, pointer, message),
        Ok(expression) => {
            for path in expression.paths() {
                check_path(&path, node, &pointer, known, findings);
            }
            known.shapes.check(&expression, node, &pointer, findings);
        }
    }
}

fn check_path(path: &[String], node: Option<&Node>, pointer: &str, known: &Known<'_>, findings: &mut Findings) {
    let [root, name, ..] = path else { return };
    match root.as_str() {
        "each" => {
            let within = node.is_some_and(|node| node.config.contains_key("forEach")) && !pointer.starts_with("/edges/");
            if !within || !EACH.contains(&name.as_str()) {
                let message = format!("each.{} is known within a step with forEach alone; there it has {}", quote(name), EACH.join(", "));
                findings.error("UNKNOWN_ITEM", node, pointer, message);
            }
        }
        "nodes" if !known.nodes.contains(name.as_str()) => {
            let meant = findings.meant(name, known.nodes.iter().copied());
            findings.error("UNKNOWN_NODE", node, pointer, format!("there is no node {}{meant}", quote(name)));
        }
        "variables" if known.variables.as_ref().is_some_and(|variables| !variables.contains(name.as_str())) => {
            let meant = findings.meant(name, known.variables.iter().flatten().copied());
            let message = format!(
                "{} is neither declared nor any node's output{meant}; a start must give it. A task's answer is at nodes[\"<node id>\"].decision",
                quote(name)
            );
            findings.warning("UNKNOWN_VARIABLE", node, pointer, message);
        }
        _ => {}
    }
}

/// The checks of one node.
struct Check<'c, 'd> {
    node: &'d Node,
    base: String,
    known: &'c Known<'d>,
    findings: &'c mut Findings,
}

impl Check<'_, '_> {
    fn run(&mut self) {
        match config::step_of(self.node) {
            Ok(step) => self.step(&step),
            Err(faults) => self.faults(faults),
        }
        if let Ok(Some(each)) = config::for_each_of(self.node) {
            self.for_each(&each);
        }
        match config::undo_of(self.node) {
            Ok(Some(Undo::Script(script))) => self.script(&script, "/config/compensate/expression"),
            Ok(Some(Undo::HumanTask(task))) => self.human_task(&task, "/config/compensate"),
            Ok(Some(Undo::Integration(call))) => self.texts(call.texts(), "/config/compensate"),
            Ok(None) => {}
            Err(faults) => self.faults(faults),
        }
        self.names();
    }

    fn faults(&mut self, faults: Vec<crate::api::FieldError>) {
        for fault in faults {
            self.findings.error(&fault.code, Some(self.node), format!("{}{}", self.base, fault.pointer), fault.detail);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::HumanTask(task) => {
                self.human_task(task, "/config");
                if task.assignees.is_empty() {
                    let message =
                        "the task has no assignee: it waits until it is assigned by hand. Set config.assignee to a user id or a role";
                    self.findings.warning("NO_ASSIGNEE", Some(self.node), format!("{}/config", self.base), message);
                }
            }
            Step::Script(script) => self.script(script, "/config/expression"),
            Step::Timer(Timer::Computed(source, _)) => self.expression(source, "/config"),
            Step::Subprocess(Subprocess { variables: Some(variables), .. }) => {
                for (name, value) in variables {
                    if let Some(source) = value.as_str().filter(|text| text.starts_with('=')) {
                        self.expression(source, &format!("/config/variables/{name}"));
                    }
                }
            }
            Step::Integration(call) => self.texts(call.texts(), "/config"),
            Step::Agent(call) => self.texts(call.texts(), "/config"),
            Step::Notification(call) => self.texts(call.texts(), "/config"),
            Step::Message(Some(Timer::Computed(source, _))) => self.expression(source, "/config/timeout/after"),
            _ => {}
        }
    }

    fn for_each(&mut self, each: &ForEach) {
        self.expression(&each.list, "/config/forEach");
        let pointer = format!("{}/config/forEach", self.base);
        let Ok(list) = Expression::compile(&each.list) else { return };
        let given = self.known.shapes.given_by(&list);
        if let Some(kind) = given.kind().filter(|_| given != Shape::List) {
            self.findings.error("NOT_A_LIST", Some(self.node), &pointer, format!("it gives {kind}, which is not a list"));
        }
    }

    fn texts(&mut self, texts: Vec<(String, &str)>, pointer: &str) {
        for (place, source) in texts {
            // What cannot be read was found when the configuration was.
            if let Ok(text) = Text::read(source) {
                self.text(&text, &format!("{pointer}{place}"));
            }
        }
    }

    fn text(&mut self, text: &Text, pointer: &str) {
        match text {
            Text::Computed(source) => self.expression(source, pointer),
            Text::Template(pieces) => {
                for piece in pieces {
                    if let Piece::Path(path) = piece {
                        let pointer = format!("{}{pointer}", self.base);
                        check_path(path, Some(self.node), &pointer, self.known, self.findings);
                        self.known.shapes.check_path(path, &[], Some(self.node), &pointer, self.findings);
                    }
                }
            }
        }
    }

    fn script(&mut self, script: &Script, pointer: &str) {
        self.expression(&script.expression, pointer);
    }

    fn human_task(&mut self, task: &HumanTask, pointer: &str) {
        let assignees = task.assignees.iter().map(|text| ("assignee", text));
        let texts = [("title", &task.title), ("description", &task.description)];
        for (name, text) in assignees.chain(texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?)))) {
            self.text(text, &format!("{pointer}/{name}"));
        }
        if let Some(Timer::Computed(source, _)) = &task.timeout {
            self.expression(source, &format!("{pointer}/timeout/after"));
        }
        if let Some(meant) = task.requires.as_deref().and_then(permission::slip) {
            let pointer = format!("{}{pointer}/requires", self.base);
            self.findings.warning("UNKNOWN_PERMISSION", Some(self.node), pointer, format!("the platform has no such permission. {meant}"));
        }
        if task.seconds.is_some() && task.chain.is_empty() {
            let message = "the task has a deadline but no one to escalate to; add escalationChain";
            self.findings.warning("NO_ESCALATION", Some(self.node), format!("{}{pointer}/sla", self.base), message);
        }
    }

    fn expression(&mut self, source: &str, pointer: &str) {
        check_expression(source, Some(self.node), format!("{}{pointer}", self.base), self.known, self.findings);
    }

    fn names(&mut self) {
        let Some(known) = config::known_names(&self.node.kind) else { return };
        for name in self.node.config.keys().filter(|name| !known.contains(&name.as_str())) {
            if let Some(near) = nearest(name, known) {
                let message = format!("{} has no effect here; did you mean {}?", quote(name), quote(near));
                self.findings.warning("UNKNOWN_CONFIG", Some(self.node), format!("{}/config/{name}", self.base), message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    type Places = Vec<(String, String)>;

    fn found(definition: Value) -> (Places, Places) {
        let definition: Definition = serde_json::from_value(definition).unwrap();
        let findings = std::thread::Builder::new().stack_size(64 << 20).spawn(move || validate(&definition)).unwrap().join().unwrap();
        let short = |list: Vec<crate::api::processes::Finding>| list.into_iter().map(|finding| (finding.code, finding.pointer)).collect();
        (short(findings.errors), short(findings.warnings))
    }

    fn pair(code: &str, pointer: &str) -> (String, String) {
        (code.to_owned(), pointer.to_owned())
    }

    #[test]
    fn the_contracts_example_is_without_fault() {
        let example = json!({ "nodes": [{ "id": "node-1", "type": "human_task", "config": { "assignee": "manager" } }] });
        assert_eq!(found(example), (vec![], vec![]));
    }

    #[test]
    fn every_field_of_every_node_is_looked_at() {
        let nodes = json!([
            { "id": "a", "type": "human_task", "config": { "title": "{{amount}}", "form": { "fields": [{ "name": "x", "type": "y" }] } } },
            { "id": "b", "type": "script", "config": { "expresion": "1" } },
            { "id": "c", "type": "timer", "config": { "seconds": -1 } },
            { "id": "d", "type": "gateway", "config": { "mode": "any" } },
            { "id": "e", "type": "subprocess", "config": { "variables": { "x": "=1 +" } } },
            { "id": "f", "type": "robot" },
            { "id": "g", "type": "script", "config": { "expression": "nodes.z.decision", "output": "x", "compensate": { "type": "mail" } } },
            { "id": "h", "type": "ai_agent" },
        ]);
        let (errors, warnings) = found(json!({ "nodes": nodes }));
        assert_eq!(
            errors,
            [
                pair("CONFIG", "/nodes/0/config/title"),
                pair("FORM", "/nodes/0/config/form/fields/0/type"),
                pair("CONFIG", "/nodes/1/config/expression"),
                pair("CONFIG", "/nodes/2/config/seconds"),
                pair("CONFIG", "/nodes/3/config/mode"),
                pair("CONFIG", "/nodes/4/config/processId"),
                pair("NODE_TYPE", "/nodes/5/type"),
                pair("UNKNOWN_NODE", "/nodes/6/config/expression"),
                pair("CONFIG", "/nodes/6/config/compensate/type"),
                pair("CONFIG", "/nodes/7/config/agentId"),
                pair("CONFIG", "/nodes/7/config/prompt"),
            ]
        );
        assert!(warnings.contains(&pair("UNKNOWN_CONFIG", "/nodes/1/config/expresion")), "{warnings:?}");
    }

    #[test]
    fn a_script_that_reads_what_nothing_gives_is_doubted() {
        let script = |id: &str, expression: &str| json!({ "id": id, "type": "script", "config": { "expression": expression } });
        let doubted = |nodes: Value, variables: Value| found(json!({ "nodes": nodes, "variables": variables })).1;
        let expected = [pair("UNKNOWN_VARIABLE", "/nodes/0/config/expression")];
        // Whether or not anything is declared.
        assert_eq!(doubted(json!([script("a", "{'total': variables.amuont * 2.0}")]), json!([])), expected);
        assert_eq!(doubted(json!([script("a", "{'total': variables.amuont * 2.0}")]), json!([{ "name": "amount" }])), expected);
        // What a script sets by an object is known; what it computes out of a variable may be anything.
        let sets = json!([script("a", "{'total': 1, \"tax\": 2}"), script("b", "{'sum': variables.total + variables.tax}")]);
        assert!(doubted(sets, json!([])).is_empty());
        let spreads = json!([script("a", "variables.order"), script("b", "{'sum': variables.total}")]);
        assert!(doubted(spreads, json!([{ "name": "order" }])).is_empty());
    }

    #[test]
    fn a_permission_that_is_almost_one_is_doubted() {
        let node =
            |requires: &str| json!({ "nodes": [{ "id": "a", "type": "human_task", "config": { "assignee": "x", "requires": requires } }] });
        assert_eq!(found(node("task:aprove")).1, [pair("UNKNOWN_PERMISSION", "/nodes/0/config/requires")]);
        assert!(found(node("invoice:approve")).1.is_empty());
    }

    #[test]
    fn conditions_compile_and_name_what_there_is() {
        let (errors, warnings) = found(json!({
            "nodes": [{ "id": "a", "type": "human_task", "config": { "assignee": "x" } }, { "id": "b", "type": "end" }, { "id": "c", "type": "end" }],
            "edges": [{ "from": "a", "to": "b", "condition": "decision == 'x'" }, { "from": "a", "to": "c", "condition": "variables.b > 1" }],
            "variables": [{ "name": "a", "type": "text" }],
        }));
        assert_eq!(errors, [pair("VARIABLE", "/variables/0/type"), pair("EXPRESSION_NAME", "/edges/0/condition")]);
        assert_eq!(warnings, [pair("NO_DEFAULT", "/nodes/0"), pair("UNKNOWN_VARIABLE", "/edges/1/condition")]);
    }
}
