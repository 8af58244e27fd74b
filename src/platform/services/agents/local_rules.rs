//! What answers where no language model is configured: rules, which say that they are rules.
//!
//! They run the tools that a prompt names, repeat what the context says, and point at what in it sounds like trouble.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::profile::Tool;

/// What each answer begins with.
const PREFACE: &str = "No language model is configured on this platform; this answer is made by fixed rules.";
/// Most facts that an answer repeats.
const MAX_FACTS: usize = 20;
/// Longest value of a fact that is repeated, in characters.
const MAX_VALUE: usize = 200;
/// Words of values that ask for attention.
const TROUBLE: [&str; 18] = [
    "negative",
    "low",
    "late",
    "overdue",
    "failed",
    "error",
    "rejected",
    "blocked",
    "breached",
    "critical",
    "urgent",
    "angry",
    "unpaid",
    "cancelled",
    "missing",
    "expired",
    "poor",
    "high risk",
];

/// A value of the context, by its path.
struct Fact {
    path: String,
    value: String,
}

/// The tools that a prompt names, each with the fields of the context that it has arguments for.
pub(super) fn tools_named<'t>(prompt: &str, context: &Map<String, Value>, tools: &'t [Tool]) -> Vec<(&'t Tool, Map<String, Value>)> {
    let said = words(prompt);
    let named = |tool: &&Tool| {
        let name = words(&tool.name);
        tool.is_for_models() && !name.is_empty() && said.windows(name.len()).any(|part| part == name)
    };
    tools
        .iter()
        .filter(named)
        .map(|tool| {
            let parameters = tool.parameters();
            let takes = |name: &String| parameters.get("properties").and_then(|properties| properties.get(name)).is_some();
            (tool, context.iter().filter(|(name, _)| takes(name)).map(|(name, value)| (name.clone(), value.clone())).collect())
        })
        .collect()
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// The answer.
pub(super) fn answer(context: &Map<String, Value>, ran: &[(String, String)]) -> String {
    let mut facts = Vec::new();
    for (name, value) in context {
        collect(name, value, &mut facts);
    }
    let mut answer = PREFACE.to_owned();
    let trouble: Vec<String> = facts
        .iter()
        .filter(|fact| {
            let value = format!(" {} ", words(&fact.value).join(" "));
            TROUBLE.iter().any(|word| value.contains(&format!(" {word} ")))
        })
        .map(|fact| format!("{} ({})", fact.path, fact.value))
        .collect();
    if !trouble.is_empty() {
        let _ = write!(answer, "\nLook first at: {}.", trouble.join(", "));
    }
    if !facts.is_empty() {
        let more = facts.len().saturating_sub(MAX_FACTS);
        let said: Vec<String> = facts.iter().take(MAX_FACTS).map(|fact| format!("{} is {}", fact.path, fact.value)).collect();
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let _ = write!(answer, "\nThe context says: {}{more}.", said.join("; "));
    }
    for (tool, result) in ran {
        let _ = write!(answer, "\n{tool} answered: {}", short(result, 2_000));
    }
    if facts.is_empty() && ran.is_empty() {
        answer.push_str("\nThere is nothing to go by: give data in the context, or name one of the agent's tools.");
    }
    answer
}

/// The values of the context that are neither objects nor lists.
fn collect(path: &str, value: &Value, facts: &mut Vec<Fact>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| collect(&format!("{path}.{name}"), value, facts)),
        Value::Array(items) => items.iter().enumerate().for_each(|(place, value)| collect(&format!("{path}[{place}]"), value, facts)),
        Value::Null => {}
        Value::String(text) => facts.push(Fact { path: path.to_owned(), value: short(text, MAX_VALUE) }),
        other => facts.push(Fact { path: path.to_owned(), value: other.to_string() }),
    }
}

fn short(text: &str, most: usize) -> String {
    let mut short: String = text.chars().take(most).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// The number of words of a text, which stand for tokens here.
pub(super) fn count(text: &str) -> u64 {
    u64::try_from(text.split_whitespace().count()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(fields) = value else { panic!("an object") };
        fields
    }

    #[test]
    fn an_answer_repeats_the_context_and_points_at_trouble() {
        let context = object(json!({ "customerId": "customer-123", "data": { "sentiment": "negative", "orders": [3, null] } }));
        let answer = answer(&context, &[]);
        assert!(answer.starts_with(PREFACE));
        assert!(answer.contains("Look first at: data.sentiment (negative)."), "{answer}");
        assert!(answer.contains("customerId is customer-123; data.sentiment is negative; data.orders[0] is 3."), "{answer}");
        assert!(super::answer(&Map::new(), &[]).contains("nothing to go by"));
        assert!(!super::answer(&object(json!({ "mood": "slow follower" })), &[]).contains("Look first"), "only whole words count");
    }

    #[test]
    fn a_prompt_names_a_tool_by_its_words() {
        let tool = Tool {
            name: "find_customers".to_owned(),
            description: None,
            operation: "entities_query".to_owned(),
            arguments: object(json!({ "type": "customers" })),
        };
        let tools = [tool];
        let context = object(json!({ "limit": 2, "type": "secrets", "other": 1 }));
        let named = tools_named("Please FIND customers now", &context, &tools);
        assert_eq!(named.len(), 1);
        assert_eq!(named[0].1, object(json!({ "limit": 2 })), "a fixed argument is not set by the context");
        assert!(tools_named("find the customers", &context, &tools).is_empty());
    }
}
