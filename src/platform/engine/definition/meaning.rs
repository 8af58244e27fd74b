//! Whether expressions mean what they say: fields that a result has, options that a form offers, kinds that can be equal.

use std::collections::HashMap;

use serde_json::Value;

use super::Definition;
use super::config::{self, Step};
use super::exits::{Exit, exits_of};
use super::findings::Findings;
use crate::api::arguments::quote;
use crate::api::near::nearest;
use crate::api::processes::{Node, NodeKind};
use crate::api::tasks::Form;
use crate::platform::engine::expressions::conditions::Expression;
use crate::platform::engine::expressions::reading::Side;
use crate::platform::engine::expressions::shape::{Fields, Shape};

/// What the nodes give and the variables hold, as far as the definition says.
#[derive(Debug)]
pub(super) struct Shapes {
    nodes: HashMap<String, Shape>,
    variables: HashMap<String, Shape>,
}

impl Shapes {
    pub(super) fn of(definition: &Definition) -> Self {
        let nodes: HashMap<String, Shape> = definition.nodes.iter().map(|node| (node.id.clone(), result_of(node))).collect();
        let mut variables: HashMap<String, Shape> = HashMap::new();
        for node in &definition.nodes {
            let output = node.config.get("output").and_then(Value::as_str);
            let set: Vec<(String, Shape)> = match (output, nodes.get(&node.id)) {
                (Some(output), Some(shape)) => vec![(output.to_owned(), shape.clone())],
                // A script without output sets a variable for each field.
                // Not for the items of a list.
                _ if node.config.contains_key("forEach") && output.is_none() => Vec::new(),
                (None, Some(Shape::Object(fields))) if node.kind == NodeKind::Script => {
                    fields.known.iter().map(|(name, (shape, _))| (name.clone(), shape.clone())).collect()
                }
                (None, Some(Shape::Any)) if node.kind == NodeKind::Script => return Self { nodes, variables: HashMap::new() },
                _ => Vec::new(),
            };
            for (name, shape) in set {
                // Of several that set it nothing is known.
                variables.entry(name).and_modify(|held| *held = Shape::Any).or_insert(shape);
            }
        }
        for variable in &definition.variables {
            let shape = match variable.kind.as_deref() {
                Some("string") => Shape::Text(None),
                Some("number" | "integer") => Shape::Number,
                Some("boolean") => Shape::Boolean,
                Some("array") => Shape::List,
                Some("object") => Shape::object(),
                _ => Shape::Any,
            };
            variables.entry(variable.name.clone()).and_modify(|held| *held = Shape::Any).or_insert(shape);
        }
        Self { nodes, variables }
    }

    /// What stands at the beginning of a path, and how many of its segments lead there.
    fn root(&self, path: &[String]) -> Option<&Shape> {
        match path.first()?.as_str() {
            "nodes" => self.nodes.get(path.get(1)?),
            "variables" => self.variables.get(path.get(1)?),
            _ => None,
        }
    }

    /// What stands at a path; `Any` where that is not known.
    fn at(&self, path: &[String]) -> Shape {
        let Some(mut shape) = self.root(path) else { return Shape::Any };
        for segment in path.iter().skip(2) {
            match shape {
                Shape::Object(Fields { known, .. }) => match known.get(segment) {
                    Some((next, _)) => shape = next,
                    None => return Shape::Any,
                },
                _ => return Shape::Any,
            }
        }
        shape.clone()
    }

    /// Checks an expression that compiles.
    pub(super) fn check(&self, expression: &Expression, node: Option<&Node>, pointer: &str, findings: &mut Findings) {
        let found = expression.found();
        for path in &found.paths {
            self.check_path(path, &found.asked, node, pointer, findings);
        }
        for (left, right) in &found.compared {
            self.check_comparison(left, right, node, pointer, findings);
        }
    }

    /// What an expression gives.
    pub(super) fn given_by(&self, expression: &Expression) -> Shape {
        match expression.side() {
            Side::Path(path) => self.at(&path),
            Side::Text(_) => Shape::Text(None),
            Side::Of(shape) => shape,
        }
    }

    /// Checks a path that is read.
    pub(super) fn check_path(&self, path: &[String], asked: &[Vec<String>], node: Option<&Node>, pointer: &str, findings: &mut Findings) {
        let Some(mut shape) = self.root(path) else { return };
        if *shape == Shape::Nothing {
            let message = format!("{} gives nothing that could be read", quote(&path[1]));
            return findings.error("NO_RESULT", node, pointer, message);
        }
        for (place, segment) in path.iter().enumerate().skip(2) {
            let before = path[..place].join(".");
            let Shape::Object(fields) = shape else {
                if let Some(kind) = shape.kind() {
                    let message = format!("{} is {kind}, which has no field {}", quote(&before), quote(segment));
                    findings.error("UNKNOWN_FIELD", node, pointer, message);
                }
                return;
            };
            let Some((next, always)) = fields.known.get(segment) else {
                let known: Vec<&str> = fields.known.keys().map(String::as_str).collect();
                let meant = nearest(segment, &known).map(|near| format!("did you mean {}?", quote(near)));
                if !fields.open {
                    let meant = meant.unwrap_or_else(|| format!("it has {}", known.join(", ")));
                    findings.error("UNKNOWN_FIELD", node, pointer, format!("{} has no field {}; {meant}", quote(&before), quote(segment)));
                } else if let Some(meant) = meant {
                    let message = format!("{} may have no field {}; {meant}", quote(&before), quote(segment));
                    findings.warning("UNKNOWN_FIELD", node, pointer, message);
                }
                return;
            };
            if !always && !asked.iter().any(|asked| asked == &path[..=place]) {
                let message = format!(
                    "{} may be left out, and the step fails then; write has({}) ? … : … around it, or make the field required",
                    quote(&path[..=place].join(".")),
                    path[..=place].join(".")
                );
                findings.warning("OPTIONAL_FIELD", node, pointer, message);
            }
            shape = next;
        }
    }

    fn check_comparison(&self, left: &Side, right: &Side, node: Option<&Node>, pointer: &str, findings: &mut Findings) {
        let shape = |side: &Side| match side {
            Side::Path(path) => self.at(path),
            Side::Text(_) => Shape::Text(None),
            Side::Of(shape) => shape.clone(),
        };
        let said = |side: &Side| match side {
            Side::Path(path) => quote(&path.join(".")),
            Side::Text(text) => quote(text),
            Side::Of(_) => "the other side".to_owned(),
        };
        let (one, other) = (shape(left), shape(right));
        if let Some((kind, wanted)) = one.kind().zip(other.kind()).filter(|(one, other)| one != other) {
            let mut message = format!("{} is {kind} and {} is {wanted}: they are never equal", said(left), said(right));
            let object = [(left, &one), (right, &other)].into_iter().find_map(|(side, shape)| match (side, shape) {
                (Side::Path(path), Shape::Object(fields)) => Some((path, fields)),
                _ => None,
            });
            if let Some((path, fields)) = object
                && let Some(name) = fields.known.keys().find(|name| *name == "decision").or(fields.known.keys().next())
            {
                message = format!("{message}. Write {}.{name}", path.join("."));
            }
            return findings.error("NEVER_EQUAL", node, pointer, message);
        }
        for (options, text) in [(&one, right), (&other, left)] {
            if let (Shape::Text(Some(options)), Side::Text(text)) = (options, text)
                && !options.contains(text)
            {
                let known: Vec<&str> = options.iter().map(String::as_str).collect();
                let meant = nearest(text, &known).map_or_else(String::new, |near| format!("; did you mean {}?", quote(near)));
                let message = format!("{} is not an option of the form, which has {}{meant}", quote(text), known.join(", "));
                findings.error("UNKNOWN_OPTION", node, pointer, message);
            }
        }
    }
}

/// What a node gives.
fn result_of(node: &Node) -> Shape {
    let mut shape = if node.config.contains_key("forEach") { Shape::List } else { work_of(node) };
    for way in exits_of(node) {
        let text = || (Shape::Text(None), true);
        match &mut shape {
            Shape::Object(fields) if way.exit == Exit::TimedOut => {
                fields.known.extend([("timedOut".to_owned(), (Shape::Boolean, true)), ("at".to_owned(), text())]);
            }
            Shape::Object(fields) => {
                let error = Shape::closed(["code", "message"].map(|name| (name.to_owned(), Shape::Text(None))).into_iter());
                fields.known.insert("error".to_owned(), (error, true));
            }
            other => *other = Shape::Any,
        }
    }
    shape
}

/// What a node gives that is left by a connection.
fn work_of(node: &Node) -> Shape {
    match (&node.kind, config::step_of(node)) {
        (NodeKind::Start | NodeKind::End | NodeKind::Gateway, _) => Shape::Nothing,
        (_, Ok(Step::HumanTask(task))) => answer_of(task.form.as_ref()),
        (_, Ok(Step::Script(script))) => Expression::compile(&script.expression).map_or(Shape::Any, |expression| expression.shape()),
        (_, Ok(Step::Timer(_))) => Shape::closed(std::iter::once(("until".to_owned(), Shape::Text(None)))),
        (_, Ok(Step::Notification(_))) => {
            Shape::closed(["notificationId", "status"].map(|name| (name.to_owned(), Shape::Text(None))).into_iter())
        }
        (_, Ok(Step::Subprocess(_) | Step::Integration(_) | Step::Agent(_) | Step::Message(_))) => Shape::object(),
        _ => Shape::Any,
    }
}

/// What a person's answer is: the decision, the comments, and the fields of the form.
fn answer_of(form: Option<&Form>) -> Shape {
    let mut fields = Fields { known: std::collections::BTreeMap::new(), open: form.is_none() };
    fields.known.insert("decision".to_owned(), (Shape::Text(None), true));
    fields.known.insert("comments".to_owned(), (Shape::Text(None), false));
    for field in form.into_iter().flat_map(|form| &form.fields) {
        let shape = match field.kind.as_str() {
            "enum" => Shape::Text(field.options.clone()),
            "text" | "date" => Shape::Text(None),
            "number" | "integer" => Shape::Number,
            "boolean" => Shape::Boolean,
            _ => Shape::Any,
        };
        let always = field.name == "decision" || field.required.unwrap_or_default();
        fields.known.insert(field.name.clone(), (shape, always));
    }
    Shape::Object(fields)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::platform::engine::definition::validate::validate;

    /// The codes of what is found in a condition after a review with a form, a free one, a script and a timer.
    fn found(condition: &str) -> (Vec<String>, Vec<String>) {
        let form = json!({ "fields": [
            { "name": "decision", "type": "enum", "options": ["approve", "reject"] },
            { "name": "amount", "type": "number", "required": true }, { "name": "note", "type": "text" },
        ] });
        let definition: Definition = serde_json::from_value(json!({
            "nodes": [
                { "id": "review", "type": "human_task", "config": { "assignee": "x", "form": form, "output": "answer" } },
                { "id": "free", "type": "human_task", "config": { "assignee": "x" } },
                { "id": "sums", "type": "script", "config": { "expression": "{'total': 1, 'name': 'a'}" } },
                { "id": "nap", "type": "timer", "config": { "seconds": 1 } },
                { "id": "choose", "type": "gateway" },
                { "id": "a", "type": "end" }, { "id": "b", "type": "end" },
            ],
            "edges": [
                { "from": "review", "to": "free" }, { "from": "free", "to": "sums" }, { "from": "sums", "to": "nap" }, { "from": "nap", "to": "choose" },
                { "from": "choose", "to": "a", "condition": condition }, { "from": "choose", "to": "b" },
            ],
            "variables": [{ "name": "limit", "type": "number" }, { "name": "code", "type": "string" }],
        }))
        .unwrap();
        let findings = std::thread::Builder::new().stack_size(64 << 20).spawn(move || validate(&definition)).unwrap().join().unwrap();
        let short = |list: Vec<crate::api::processes::Finding>| list.into_iter().map(|finding| finding.code).collect();
        (short(findings.errors), short(findings.warnings))
    }

    fn error(code: &str) -> (Vec<String>, Vec<String>) {
        (vec![code.to_owned()], vec![])
    }

    fn warning(code: &str) -> (Vec<String>, Vec<String>) {
        (vec![], vec![code.to_owned()])
    }

    #[test]
    fn what_is_right_is_not_doubted() {
        for condition in [
            "nodes.review.decision == 'approve' && nodes.review.amount > variables.limit",
            "nodes.review.decision in ['approve', 'reject']",
            "has(nodes.review.note) && nodes.review.note == 'x'",
            "'note' in nodes.review && nodes.review.note != ''",
            "nodes.free.decision == 'anything' || has(nodes.free.more)",
            "nodes.sums.total == 1 && nodes.sums.name == 'a' && variables.answer.amount == 2.5",
            "variables.code == 'x' && nodes.nap.until > 'x' && nodes.review.decision != null",
        ] {
            assert_eq!(found(condition), (vec![], vec![]), "{condition}");
        }
    }

    #[test]
    fn a_field_that_a_result_does_not_have_is_told() {
        for condition in ["nodes.review.decison == 'approve'", "nodes.review.sum > 1", "nodes.sums.totl > 1", "variables.answer.amuont > 1"]
        {
            assert_eq!(found(condition), error("UNKNOWN_FIELD"), "{condition}");
        }
        assert_eq!(found("nodes.review.decision.text == 'x'"), error("UNKNOWN_FIELD"));
        assert_eq!(found("nodes.free.decison == 'approve'"), warning("UNKNOWN_FIELD"));
        assert_eq!(found("nodes.choose.x == 1"), error("NO_RESULT"));
    }

    #[test]
    fn an_option_that_a_form_does_not_offer_is_told() {
        for condition in
            ["nodes.review.decision == 'aprove'", "'yes' != nodes.review.decision", "nodes.review.decision in ['approve', 'no']"]
        {
            assert_eq!(found(condition), error("UNKNOWN_OPTION"), "{condition}");
        }
    }

    #[test]
    fn kinds_that_are_never_equal_are_told() {
        for condition in [
            "nodes.review == 'approve'",
            "nodes.free == 'x'",
            "variables.limit == '5'",
            "nodes.review.amount == true",
            "variables.code == [1]",
        ] {
            assert_eq!(found(condition), error("NEVER_EQUAL"), "{condition}");
        }
    }

    #[test]
    fn an_optional_field_without_has_and_a_constant_are_doubted() {
        assert_eq!(found("nodes.review.note == 'x'"), warning("OPTIONAL_FIELD"));
        assert_eq!(found("nodes.free.comments == 'x'"), warning("OPTIONAL_FIELD"));
        assert_eq!(found("1 < 2"), warning("CONSTANT_CONDITION"));
    }
}
