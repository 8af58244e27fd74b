//! What it costs to hold a record to a schema: one step for each part of the schema that looks at one part of the record.
//!
//! The walk takes the turns that a validator takes, and counts. It ends when the steps are spent, so that it costs no more
//! itself than what it allows.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::anchored;

/// What a check takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) steps: u64,
    /// Steps of the `anyOf` or `oneOf` that takes most, with all alternatives below it. So many faults are kept, at most, to
    /// tell why none of them fits.
    pub(super) alternatives: u64,
}

/// The steps that a check may take, spent in the course of a walk.
pub(super) struct Cost<'s> {
    root: &'s Value,
    targets: HashMap<&'s str, Option<&'s Value>>,
    left: u64,
    alternatives: u64,
    is_alternative: bool,
}

impl<'s> Cost<'s> {
    /// What it takes to hold a record to a schema; none where that is more than `most` steps.
    pub(super) fn of(root: &'s Value, record: &Value, most: u64) -> Option<Taken> {
        let mut cost = Self { root, targets: HashMap::new(), left: most, alternatives: 0, is_alternative: false };
        cost.walk(root, record)?;
        Some(Taken { steps: most - cost.left, alternatives: cost.alternatives })
    }

    fn spend(&mut self, steps: u64) -> Option<()> {
        self.left = self.left.checked_sub(steps)?;
        Some(())
    }

    fn walk(&mut self, schema: &'s Value, part: &Value) -> Option<()> {
        self.spend(1)?;
        let Value::Object(keywords) = schema else { return Some(()) };
        let before = self.left;
        for (keyword, value) in keywords {
            self.spend(1)?;
            self.keyword(keyword, value, part)?;
        }
        // These ask the other keywords again about each child.
        let again = before - self.left;
        for (keyword, children) in [("unevaluatedProperties", fields(part).len()), ("unevaluatedItems", items(part).len())] {
            if let Some(value) = keywords.get(keyword) {
                self.spend(again.saturating_mul(children as u64))?;
                self.each(value, children_of(part))?;
            }
        }
        Some(())
    }

    fn keyword(&mut self, keyword: &str, value: &'s Value, part: &Value) -> Option<()> {
        match (keyword, value) {
            ("$ref", Value::String(target)) => match self.target(target) {
                Some(schema) => self.walk(schema, part),
                None => Some(()),
            },
            ("anyOf" | "oneOf", Value::Array(all)) if !self.is_alternative => {
                let before = self.left;
                self.is_alternative = true;
                all.iter().try_for_each(|schema| self.walk(schema, part))?;
                self.is_alternative = false;
                self.alternatives = self.alternatives.max(before - self.left);
                Some(())
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(all)) => all.iter().try_for_each(|schema| self.walk(schema, part)),
            ("not" | "if" | "then" | "else", schema) => self.walk(schema, part),
            ("properties", Value::Object(schemas)) => {
                self.spend(schemas.len() as u64)?;
                fields(part).iter().try_for_each(|(name, child)| schemas.get(name).map_or(Some(()), |schema| self.walk(schema, child)))
            }
            // Which of them a name matches is not asked: that is what it costs.
            ("patternProperties", Value::Object(schemas)) => fields(part).iter().try_for_each(|(name, child)| {
                self.spend((schemas.len() * (1 + name.len() / 16)) as u64)?;
                schemas.values().try_for_each(|schema| self.walk(schema, child))
            }),
            ("dependentSchemas" | "dependencies", Value::Object(schemas)) => {
                let asked = |name: &String| fields(part).contains_key(name);
                schemas.iter().filter(|(name, _)| asked(name)).try_for_each(|(_, schema)| self.walk(schema, part))
            }
            ("propertyNames", schema) => fields(part).iter().try_for_each(|(name, _)| self.walk(schema, &Value::String(name.clone()))),
            ("additionalProperties", schema) => self.each(schema, fields(part).values()),
            ("items" | "prefixItems", Value::Array(schemas)) => {
                schemas.iter().zip(items(part)).try_for_each(|(schema, child)| self.walk(schema, child))
            }
            ("items" | "contains" | "additionalItems", schema) => self.each(schema, items(part).iter()),
            ("enum" | "const", value) => self.spend(size(value).saturating_mul(size_of_head(part))),
            ("uniqueItems", Value::Bool(true)) => self.spend(size(part)),
            ("required", Value::Array(names)) => self.spend(names.len() as u64),
            ("pattern" | "format" | "minLength" | "maxLength", _) => self.spend(part.as_str().map_or(0, |text| (text.len() / 16) as u64)),
            _ => Some(()),
        }
    }

    fn each<'v>(&mut self, schema: &'s Value, mut children: impl Iterator<Item = &'v Value>) -> Option<()> {
        children.try_for_each(|child| self.walk(schema, child))
    }

    fn target(&mut self, reference: &'s str) -> Option<&'s Value> {
        let root = self.root;
        *self.targets.entry(reference).or_insert_with(|| {
            let pointer = percent_decode_str(reference.strip_prefix('#')?).decode_utf8().ok()?;
            if pointer.is_empty() || pointer.starts_with('/') { root.pointer(&pointer) } else { anchored(root, &pointer) }
        })
    }
}

fn fields(part: &Value) -> &Map<String, Value> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    part.as_object().unwrap_or(&NONE)
}

fn items(part: &Value) -> &[Value] {
    part.as_array().map_or(&[], Vec::as_slice)
}

fn children_of(part: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    Box::new(fields(part).values().chain(items(part)))
}

/// How many values a value holds, itself included.
fn size(value: &Value) -> u64 {
    match value {
        Value::Object(fields) => 1 + fields.values().map(size).sum::<u64>(),
        Value::Array(items) => 1 + items.iter().map(size).sum::<u64>(),
        _ => 1,
    }
}

/// What it takes to compare a part with one value: texts and numbers differ at once, lists and objects may be walked.
fn size_of_head(part: &Value) -> u64 {
    if part.is_object() || part.is_array() { size(part).min(16) } else { 1 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cost(schema: &Value, record: &Value) -> Option<u64> {
        Cost::of(schema, record, 100_000).map(|taken| taken.steps)
    }

    #[test]
    fn an_ordinary_record_costs_little() {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["name"],
            "properties": {
                "name": { "$ref": "#/$defs/name" },
                "lines": { "type": "array", "items": { "type": "object", "properties": { "sum": { "type": "number", "minimum": 0 } } } },
            },
            "$defs": { "name": { "type": "string", "minLength": 1 } },
        });
        let lines: Vec<Value> = (0..100).map(|sum| json!({ "sum": sum })).collect();
        let steps = cost(&schema, &json!({ "name": "Acme", "lines": lines })).unwrap();
        assert!((100..2_000).contains(&steps), "{steps}");
    }

    #[test]
    fn the_largest_choice_is_told_apart_from_many_small_ones() {
        let choice = json!({ "anyOf": vec![json!({ "items": { "const": 1 } }); 10] });
        let taken = |schema: Value, record: Value| Cost::of(&schema, &record, 100_000).unwrap();
        let one = taken(choice.clone(), json!([2, 2]));
        assert!(one.alternatives >= 20 && one.alternatives < one.steps, "{one:?}");
        let each = taken(json!({ "items": choice.clone() }), json!(vec![json!([2, 2]); 50]));
        assert_eq!(each.alternatives, one.alternatives);
        assert!(each.steps > 50 * one.alternatives, "{each:?}");
        let nested = taken(json!({ "oneOf": [choice.clone(), choice] }), json!([2, 2]));
        assert!(nested.alternatives > 2 * one.alternatives, "{nested:?}");
        assert_eq!(taken(json!({ "items": { "const": 1 } }), json!([2, 2])).alternatives, 0);
    }

    #[test]
    fn schema_times_record_is_what_counts() {
        let wide = json!({ "items": { "anyOf": vec![json!({ "const": 1 }); 1_000] } });
        assert!(cost(&wide, &json!([2])).is_some());
        assert_eq!(cost(&wide, &json!(vec![2; 1_000])), None);
        let names = json!({ "propertyNames": { "anyOf": vec![json!({ "pattern": "a" }); 1_000] } });
        let many: Map<String, Value> = (0..1_000).map(|name| (format!("n{name}"), json!(1))).collect();
        assert_eq!(cost(&names, &Value::Object(many.clone())), None);
        let patterns: Map<String, Value> = (0..1_000).map(|name| (format!("^n{name}"), json!(true))).collect();
        assert_eq!(cost(&json!({ "patternProperties": patterns }), &Value::Object(many.clone())), None);
        let unevaluated =
            json!({ "anyOf": vec![json!({ "properties": { "a": { "type": "null" } } }); 300], "unevaluatedProperties": false });
        assert_eq!(cost(&unevaluated, &Value::Object(many)), None);
    }
}
