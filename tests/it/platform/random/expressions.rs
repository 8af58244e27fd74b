//! Expressions of every kind in every place of a process, and as conditions of roles, over facts that are large.

use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::throw;

/// What an expression reads; described by its sizes, so that a failure can be read.
#[derive(Debug, Clone)]
struct Facts {
    list: usize,
    fields: usize,
    texts: (usize, usize),
    text: usize,
    keys: (usize, usize),
    levels: usize,
}

fn facts() -> impl Strategy<Value = Facts> {
    let sizes =
        (0..40_000_usize, 0..20_000_usize, (0..40_usize, 0..4_000_usize), 0..300_000_usize, (0..40_usize, 0..7_000_usize), 0..55_usize);
    sizes.prop_map(|(list, fields, texts, text, keys, levels)| Facts { list, fields, texts, text, keys, levels })
}

impl Facts {
    fn variables(&self) -> Value {
        let keys: Map<String, Value> = (0..self.keys.0).map(|key| (format!("{}{key}", "k".repeat(self.keys.1)), json!(key))).collect();
        let nested = (0..self.levels).fold(json!(1), |inner, level| if level % 2 == 0 { json!([inner]) } else { json!({ "n": inner }) });
        let fields: Map<String, Value> = (0..self.fields).map(|field| (format!("f{field}"), json!(field))).collect();
        json!({
            "o": fields, "l": (0..self.list).collect::<Vec<_>>(), "t": vec!["t".repeat(self.texts.1); self.texts.0], "b": "1h".repeat(self.text / 2),
            "m": keys, "d": nested, "n": 7, "f": 0.5, "s": "2026-01-31", "z": null, "y": true,
        })
    }
}

/// Where an expression stands in a process.
#[derive(Debug, Clone, Copy)]
enum Place {
    Output,
    Spread,
    Condition,
    Title,
    Timer,
    Undo,
}

fn place() -> impl Strategy<Value = Place> {
    prop::sample::select(vec![Place::Output, Place::Spread, Place::Condition, Place::Title, Place::Timer, Place::Undo])
}

impl Place {
    fn process(self, source: &str) -> Value {
        let end = json!({ "id": "z", "type": "end" });
        let node = match self {
            Self::Output => json!({ "id": "a", "type": "script", "config": { "expression": source, "output": "r" } }),
            Self::Spread => json!({ "id": "a", "type": "script", "config": { "expression": source } }),
            Self::Condition => json!({ "id": "a", "type": "start" }),
            Self::Title => json!({ "id": "a", "type": "human_task", "config": {
                "assignee": "admin", "title": format!("= {source}"), "description": "{{variables.b}}".repeat(130) } }),
            Self::Timer => json!({ "id": "a", "type": "timer", "config": { "until": format!("= {source}") } }),
            Self::Undo => json!({ "id": "a", "type": "script", "config": { "expression": "1", "output": "r",
                "compensate": { "type": "script", "expression": source, "output": "u" } } }),
        };
        let edge = match self {
            Self::Condition => json!({ "from": "a", "to": "z", "condition": source }),
            _ => json!({ "from": "a", "to": "z" }),
        };
        json!({ "name": "random", "version": "1.0.0", "nodes": [node, end], "edges": [edge, { "from": "a", "to": "y" }], "variables": [] })
    }
}

/// An expression over the names of a process, mostly one that compiles.
fn over(roots: &'static [&'static str]) -> impl Strategy<Value = String> {
    let leaves = [
        "1",
        "-1",
        "0",
        "2.5",
        "1e308",
        "9223372036854775807",
        "'x'",
        "b'\\xff'",
        "''",
        "null",
        "true",
        "[]",
        "{}",
        "x",
        "y",
        "duration('1h')",
        "timestamp('2026-01-31T09:00:00Z')",
        "'1h30m'",
        "{'a': 1}",
        "[1, 2.0, 'x']",
    ];
    let leaf = prop_oneof![3 => prop::sample::select(roots), 1 => prop::sample::select(leaves.to_vec())].prop_map(str::to_owned);
    leaf.prop_recursive(6, 48, 3, |inner| {
        let pair = || (inner.clone(), inner.clone());
        let loops = prop::sample::select(vec!["all", "exists", "exists_one", "map", "filter"]);
        let functions = prop::sample::select(vec![
            "size",
            "int",
            "uint",
            "double",
            "string",
            "bytes",
            "bool",
            "type",
            "dyn",
            "timestamp",
            "duration",
            "has",
            "nothing",
        ]);
        let methods = prop::sample::select(vec![
            "contains",
            "startsWith",
            "endsWith",
            "getHours",
            "getFullYear",
            "getMilliseconds",
            "getDayOfYear",
            "size",
            "matches",
        ]);
        let operators = prop::sample::select(vec!["+", "+", "-", "*", "/", "%", "==", "!=", "<", ">=", "in", "in", "&&", "||"]);
        let brackets = prop::sample::select(vec![("(", ")"), ("[", "]"), ("!", ""), ("-", ""), ("{'a': ", "}"), ("[0, ", "]")]);
        prop_oneof![
            6 => (pair(), loops, prop::sample::select(vec!["x", "y"]))
                .prop_map(|((list, body), each, name)| format!("{list}.{each}({name}, {body})")),
            3 => (pair(), operators).prop_map(|((a, b), operator)| format!("({a} {operator} {b})")),
            2 => (inner.clone(), functions).prop_map(|(value, function)| format!("{function}({value})")),
            1 => (pair(), methods).prop_map(|((value, argument), method)| format!("{value}.{method}({argument})")),
            1 => pair().prop_map(|(all, place)| format!("{all}[{place}]")),
            1 => (pair(), inner.clone()).prop_map(|((a, b), c)| format!("({a} ? {b} : {c})")),
            1 => pair().prop_map(|(key, value)| format!("{{{key}: {value}}}")),
            1 => (inner.clone(), brackets, 1..30_usize)
                .prop_map(|(value, (open, close), times)| format!("{}{value}{}", open.repeat(times), close.repeat(times))),
            1 => (inner.clone(), prop::sample::select(vec![" + ", " && ", " == ", ", ", ".a"]), 1..300_usize)
                .prop_map(|(value, between, times)| vec![value; times].join(between).chars().take(2_048).collect()),
        ]
    })
}

const FACTS: &[&str] = &[
    "variables",
    "variables.o",
    "variables.l",
    "variables.l",
    "variables.t",
    "variables.b",
    "variables.m",
    "variables.d",
    "variables.n",
    "variables.s",
    "nodes",
    "execution",
];

/// Pieces of the grammar in any order, which mostly do not compile.
fn pieces() -> impl Strategy<Value = String> {
    let pieces = vec![
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "?",
        ".",
        "'",
        "\"",
        "\\",
        "1",
        "0x",
        "1e",
        "u",
        "r'",
        "'''",
        "//",
        "&&",
        "||",
        "!",
        "-",
        "in",
        "variables",
        "x",
        "all(",
        "has(",
        "map(",
        " ",
        "\n",
        "\0",
        "é",
        "\u{1F600}",
        "{{",
        "}}",
        "=",
        "true",
        "null",
        "@result",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..200).prop_map(|pieces| pieces.concat())
}

#[test]
fn no_expression_ends_or_holds_the_platform() {
    let sources = prop_oneof![6 => over(FACTS), 1 => pieces()];
    throw(24, &(sources, place(), facts()), |program, (source, place, facts)| async move {
        let design = program.send("POST", "/processes/designs", &place.process(&source)).await?;
        let Some(process) = design.text("id") else { return Ok(()) };
        program.send("POST", &format!("/processes/{process}/validate"), &json!({})).await?;
        let variables = facts.variables();
        program.send("POST", &format!("/processes/{process}/sandbox"), &json!({ "variables": variables })).await?;
        // Without the edge that leads nowhere it can be published, if it compiles.
        let mut whole = place.process(&source);
        whole["edges"].as_array_mut().unwrap().pop();
        whole.as_object_mut().unwrap().remove("version");
        program.send("PUT", &format!("/processes/{process}"), &whole).await?;
        if !program.send("POST", &format!("/processes/{process}/publish"), &json!({})).await?.is_ok() {
            return Ok(());
        }
        let started = program.send("POST", "/executions", &json!({ "processId": process, "variables": variables })).await?;
        let Some(execution) = started.text("executionId") else { return Ok(()) };
        program.send("POST", &format!("/executions/{execution}/compensate"), &json!({ "reason": "random" })).await?;
        let ended = program.send("GET", &format!("/executions/{execution}"), &Value::Null).await?;
        match ended.body["status"].as_str() {
            Some("running" | "pending") | None => Err(format!("it runs on without an end: {}", ended.body)),
            Some(_) => Ok(()),
        }
    });
}

const CALLER: &[&str] = &["user", "user.roles", "user.id", "resource", "resource.type", "env", "env.hour", "env.time"];

#[test]
fn no_condition_of_a_role_ends_or_holds_the_platform() {
    let users = AtomicU32::new(0);
    throw(16, &prop::collection::vec(over(CALLER), 1..4), |program, conditions| {
        let user = users.fetch_add(1, Ordering::Relaxed);
        async move {
            let mut roles = Vec::new();
            for (place, condition) in conditions.iter().enumerate() {
                let name = format!("random {user} {place}");
                let role = json!({ "name": name, "permissions": ["task:view"], "condition": condition });
                if program.send("POST", "/roles", &role).await?.is_ok() {
                    roles.push(name);
                }
            }
            let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
            let token = program.user(&format!("random-{user}@b.c"), &roles).await?;
            program.send_as(&token, "GET", "/tasks", &Value::Null).await?;
            Ok(())
        }
    });
}
