//! The listed tools against the rules of the vendors whose models get them: each rule with the vendor that rejects a breach.

use flowmaster_mcp::api::arguments::Reading;
use flowmaster_mcp::api::catalogue;
use flowmaster_mcp::api::operation::WAIT_SECONDS;
use flowmaster_mcp::server::{list_tools_json, toolsets};
use serde_json::{Map, Value, json};

use crate::catalogue::request_of;

mod strict;

/// A rule of a vendor, and what in a tool breaks it.
struct Rule {
    vendor: &'static str,
    says: &'static str,
    broken: fn(&Value) -> Vec<String>,
}

const RULES: &[Rule] = &[
    Rule {
        vendor: "Anthropic",
        says: "a tool's name matches ^[a-zA-Z0-9_-]{1,64}$, after Claude Code's prefix too",
        broken: |tool| faults([name(tool).len() + "mcp__flowmaster__".len() > 64 || !is_word(name(tool), "_-")], "the name"),
    },
    Rule {
        vendor: "Anthropic",
        says: "property names match ^[a-zA-Z0-9_.-]{1,64}$",
        broken: |tool| {
            let names =
                nodes(tool).into_iter().flat_map(|node| properties_of(node.schema).map(|(name, _)| name.clone()).collect::<Vec<_>>());
            names.filter(|name| name.is_empty() || name.len() > 64 || !is_word(name, "_.-")).collect()
        },
    },
    Rule {
        vendor: "Anthropic, OpenAI, Bedrock",
        says: "the root is an object without oneOf, anyOf, allOf, not, enum",
        broken: |tool| {
            let root = &tool["inputSchema"];
            faults(
                ["oneOf", "anyOf", "allOf", "not", "enum"].map(|key| root.get(key).is_some()).into_iter().chain([root["type"] != "object"]),
                "the root",
            )
        },
    },
    Rule {
        vendor: "Anthropic, Gemini, Bedrock",
        says: "nothing is a reference",
        broken: |tool| with_any(tool, &["$ref", "$dynamicRef", "$defs", "definitions", "$anchor", "$id", "$schema"]),
    },
    Rule {
        vendor: "OpenAI",
        says: "a tool's name matches ^[a-zA-Z0-9_-]{1,64}$ and its description has 1,024 characters at most",
        broken: |tool| {
            faults(
                [!is_word(name(tool), "_-"), tool["description"].as_str().unwrap().chars().count() > 1024],
                "the name or the description",
            )
        },
    },
    Rule {
        vendor: "OpenAI",
        says: "the root has properties, and every array says what its items are",
        broken: |tool| {
            let arrays = nodes(tool).into_iter().filter(|node| node.schema["type"] == "array" && !node.schema["items"].is_object());
            arrays.map(|node| node.path).chain(faults([!tool["inputSchema"]["properties"].is_object()], "the root")).collect()
        },
    },
    Rule { vendor: "OpenAI, strict mode", says: "the SDK's conversion refuses the tool or takes nothing from it", broken: strict::losses },
    Rule {
        vendor: "Gemini",
        says: "a function's name begins with a letter or an underscore and has 64 characters at most",
        broken: |tool| {
            faults([name(tool).len() > 64 || !name(tool).starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')], "the name")
        },
    },
    Rule {
        vendor: "Gemini",
        says: "each node has one type, as a text",
        broken: |tool| {
            const TYPES: [&str; 6] = ["string", "number", "integer", "boolean", "array", "object"];
            with(tool, |schema| !schema["type"].as_str().is_some_and(|kind| TYPES.contains(&kind)))
        },
    },
    Rule {
        vendor: "Gemini",
        says: "enum is of texts that are not empty, and of a string",
        broken: |tool| {
            with(tool, |schema| {
                let texts = |values: &Vec<Value>| values.iter().all(|value| value.as_str().is_some_and(|text| !text.is_empty()));
                schema.get("enum").is_some_and(|values| schema["type"] != "string" || !values.as_array().is_some_and(texts))
            })
        },
    },
    Rule {
        vendor: "Gemini",
        says: "the only format of a string is date-time, and a number has none here",
        broken: |tool| with(tool, |schema| schema.get("format").is_some_and(|format| format != "date-time" || schema["type"] != "string")),
    },
    Rule {
        vendor: "Gemini",
        says: "only objects have properties and required, only arrays items, and what is required is a property",
        broken: |tool| {
            with(tool, |schema| {
                let of = |keys: &[&str], kind: &str| schema["type"] != kind && keys.iter().any(|key| schema.get(key).is_some());
                let known = |name: &Value| schema["properties"].get(name.as_str().unwrap_or_default()).is_some();
                of(&["properties", "required"], "object")
                    || of(&["items"], "array")
                    || schema["required"].as_array().is_some_and(|names| !names.iter().all(known))
            })
        },
    },
    Rule {
        vendor: "Gemini",
        says: "no keyword is beyond the subset of OpenAPI",
        broken: |tool| {
            with_any(
                tool,
                &[
                    "const",
                    "oneOf",
                    "allOf",
                    "not",
                    "if",
                    "patternProperties",
                    "prefixItems",
                    "exclusiveMinimum",
                    "exclusiveMaximum",
                    "uniqueItems",
                    "examples",
                ],
            )
        },
    },
    Rule {
        vendor: "Gemini, google-genai",
        says: "items and additionalProperties are objects: a boolean has no fields to convert",
        broken: |tool| {
            with(tool, |schema| ["items", "additionalProperties"].iter().any(|key| schema.get(key).is_some_and(|below| !below.is_object())))
        },
    },
    Rule {
        vendor: "Bedrock",
        says: "a tool's name matches ^[a-zA-Z][a-zA-Z0-9_]{0,63}$ and its description is not empty",
        broken: |tool| {
            let begins = name(tool).starts_with(|c: char| c.is_ascii_alphabetic());
            faults(
                [!begins || !is_word(name(tool), "_"), tool["description"].as_str().is_none_or(str::is_empty)],
                "the name or the description",
            )
        },
    },
    Rule {
        vendor: "Bedrock, Nova",
        says: "the root has type, properties and required alone",
        broken: |tool| {
            let root = tool["inputSchema"].as_object().unwrap();
            root.keys().filter(|key| !["type", "properties", "required"].contains(&key.as_str())).cloned().collect()
        },
    },
];

/// Most functions of one request to OpenAI and to Gemini.
const MAX_TOOLS: usize = 128;

/// A schema within a tool's, and where it stands.
struct Node<'a> {
    path: String,
    schema: &'a Value,
}

/// The schemas of a tool's arguments. The value of a free-form object's fields has none.
fn nodes(tool: &Value) -> Vec<Node<'_>> {
    nodes_of(&tool["inputSchema"])
}

fn nodes_of(root: &Value) -> Vec<Node<'_>> {
    let mut found = vec![Node { path: String::new(), schema: root }];
    let mut next = 0;
    while next < found.len() {
        let (path, schema) = (found[next].path.clone(), found[next].schema);
        found.extend(properties_of(schema).map(|(name, schema)| Node { path: format!("{path}/{name}"), schema }));
        found.extend(schema.get("items").map(|schema| Node { path: format!("{path}/[]"), schema }));
        next += 1;
    }
    found
}

fn properties_of(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn with(tool: &Value, broken: impl Fn(&Value) -> bool) -> Vec<String> {
    nodes(tool).into_iter().filter(|node| broken(node.schema)).map(|node| format!("{} {}", node.path, node.schema)).collect()
}

fn with_any(tool: &Value, keys: &[&str]) -> Vec<String> {
    with(tool, |schema| keys.iter().any(|key| schema.get(key).is_some()))
}

fn faults(broken: impl IntoIterator<Item = bool>, what: &str) -> Vec<String> {
    broken.into_iter().filter(|broken| *broken).map(|_| what.to_owned()).collect()
}

fn name(tool: &Value) -> &str {
    tool["name"].as_str().unwrap()
}

fn is_word(text: &str, more: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}

fn tools() -> Vec<Value> {
    list_tools_json()["tools"].as_array().unwrap().clone()
}

#[test]
fn every_listed_tool_keeps_the_rules_of_every_vendor() {
    let tools = tools();
    // All tools together are more than OpenAI and Gemini take: before these an operator chooses toolsets.
    let too_large = toolsets().iter().filter(|set| set.name != "all" && set.tools().count() > MAX_TOOLS);
    assert!(tools.len() > 20 && too_large.count() == 0, "OpenAI and Gemini take {MAX_TOOLS} functions");
    let mut breaches = Vec::new();
    for tool in &tools {
        for rule in RULES {
            let broken = (rule.broken)(tool);
            breaches.extend(broken.iter().map(|broken| format!("{} | {}: {} | {broken}", name(tool), rule.vendor, rule.says)));
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn every_rule_is_broken_by_some_schema() {
    let long = "x".repeat(70);
    let bad = json!({ "name": "1 bad name", "description": "x".repeat(1025), "inputSchema": {
        "type": ["object"], "anyOf": [], "title": "t",
        "properties": {
            "a b": { "$ref": "#" }, "array": { "type": "array" }, "free": { "type": "object" }, "text": { "type": "string", "format": "uri" },
            "closed": { "type": "object", "additionalProperties": false }, "number": { "type": "number", "enum": [1] }, "one": { "const": 1 },
        },
        "required": ["missing"],
    } });
    let unnamed =
        json!({ "name": long, "description": "", "inputSchema": { "type": "object", "properties": { "free": { "type": "object" } } } });
    for rule in RULES {
        assert!(!(rule.broken)(&bad).is_empty() || !(rule.broken)(&unnamed).is_empty(), "{}: {}", rule.vendor, rule.says);
    }
}

#[test]
fn every_listed_answer_is_plain_and_open() {
    for tool in tools() {
        let schema = &tool["outputSchema"];
        assert_eq!(schema["type"], "object", "{}", name(&tool));
        for Node { path, schema } in nodes_of(schema) {
            for key in ["$ref", "$defs", "anyOf", "oneOf", "allOf", "const", "additionalProperties"] {
                assert!(schema.get(key).is_none(), "{}{path} has {key}", name(&tool));
            }
            assert!(schema["type"].is_string(), "{}{path}: {schema}", name(&tool));
        }
    }
}

#[test]
fn an_unknown_field_is_rejected_although_the_list_is_silent_on_it() {
    for entry in catalogue().tools() {
        let mut sent = request_of(entry.spec.name);
        sent.insert("zz_unknown".to_owned(), json!(1));
        let faults = entry.check(&mut Value::Object(sent), Reading::Lenient).unwrap_err();
        assert_eq!((faults[0].pointer.as_str(), faults[0].code.as_str()), ("/zz_unknown", "unknown"), "{}", entry.spec.name);
        let input = Value::Object(entry.shape.input.clone());
        for Node { path, schema } in nodes_of(&input) {
            let closed = schema.get("additionalProperties") == Some(&json!(false));
            assert_eq!(closed, schema.get("properties").is_some(), "{}{path} is closed where its fields have names", entry.spec.name);
        }
        // Apart from that keyword, bounds that each refusal names, the operator's own arguments, and the server's own, the list
        // says what is checked.
        let mut checked = without_unlisted(&input);
        checked["properties"].as_object_mut().unwrap().retain(|name, _| !entry.spec.operators.contains(&name.as_str()));
        let mut listed = without_unlisted(&Value::Object(entry.shape.listed.clone()));
        let waits = listed["properties"].as_object_mut().unwrap().remove(WAIT_SECONDS);
        assert_eq!(waits.is_some(), entry.spec.waits.is_some(), "{}", entry.spec.name);
        assert_eq!(checked, listed, "{}", entry.spec.name);
    }
}

/// A schema without what it says of fields that have no name, of bounds that each refusal names, and of what fields are.
fn without_unlisted(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let unlisted = ["additionalProperties", "minLength", "maxLength", "minimum"];
            let is_silent = |key: &str, value: &Value| unlisted.contains(&key) || (key == "description" && value.is_string());
            let kept = fields.iter().filter(|(key, value)| !is_silent(key, value));
            Value::Object(kept.map(|(key, value)| (key.clone(), without_unlisted(value))).collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}
