//! Texts of a process: plain, with places such as `{{variables.amount}}`, or computed when they begin with `=`.

use serde_json::{Map, Value};

use super::conditions::{Expression, Facts, ROOTS};
use super::fault::Fault;
use super::values::said_number;

/// Longest text that a template may make, in characters.
const MAX_MADE: usize = 20_000;

/// A text of a node's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// Literal pieces and the paths between them.
    Template(Vec<Piece>),
    /// A CEL expression.
    Computed(String),
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As written.
    Literal(String),
    /// What stands at a path, such as `variables.customer.name`.
    Path(Vec<String>),
}

impl Text {
    /// Reads a text; what stands between braces must be a path.
    pub fn read(source: &str) -> Result<Self, Fault> {
        if source.starts_with('=') {
            return Ok(Self::Computed(source.to_owned()));
        }
        let mut pieces = Vec::new();
        let mut rest = source;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((inside, behind)) = after.split_once("}}") else {
                return Err(Fault::new("TEMPLATE", "a `{{` has no `}}`"));
            };
            if !before.is_empty() {
                pieces.push(Piece::Literal(before.to_owned()));
            }
            pieces.push(Piece::Path(read_path(inside.trim())?));
            rest = behind;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        Ok(Self::Template(pieces))
    }

    /// The paths that it reads.
    pub fn paths(&self) -> Result<Vec<Vec<String>>, Fault> {
        match self {
            Self::Computed(source) => Ok(Expression::compile(source)?.paths()),
            Self::Template(pieces) => {
                let path = |piece: &Piece| if let Piece::Path(path) = piece { Some(path.clone()) } else { None };
                Ok(pieces.iter().filter_map(path).collect())
            }
        }
    }

    /// Fills it in as one text, or as several where an expression gives a list.
    pub fn render_all(&self, facts: Facts<'_>) -> Result<Vec<String>, Fault> {
        if let Self::Computed(source) = self
            && let Value::Array(items) = Expression::compile(source)?.evaluate(facts)?
        {
            return Ok(items.iter().map(plain).collect());
        }
        Ok(vec![self.render(facts)?])
    }

    /// Fills it in. Text stays text, anything else is written as JSON.
    pub fn render(&self, facts: Facts<'_>) -> Result<String, Fault> {
        let text = match self {
            Self::Computed(source) => plain(&Expression::compile(source)?.evaluate(facts)?),
            Self::Template(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Literal(literal) => text.push_str(literal),
                        Piece::Path(path) => text.push_str(&plain(look_up(facts, path)?)),
                    }
                    // A place may be repeated, and what stands there long: it ends where it is too long for certain.
                    if text.len() > MAX_MADE * char::MAX_LEN_UTF8 {
                        return Err(too_long());
                    }
                }
                text
            }
        };
        if text.chars().count() > MAX_MADE { Err(too_long()) } else { Ok(text) }
    }
}

fn too_long() -> Fault {
    Fault::new("TEMPLATE", format!("the text would have more than {MAX_MADE} characters"))
}

fn read_path(path: &str) -> Result<Vec<String>, Fault> {
    let segments: Vec<String> = path.split('.').map(|segment| segment.trim().to_owned()).collect();
    let simple = |segment: &String| !segment.is_empty() && segment.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    if !segments.iter().all(simple) {
        return Err(Fault::new(
            "TEMPLATE",
            format!(
                "`{{{{{path}}}}}` is not a path; a text takes paths such as {{{{variables.amount}}}}. To compute, begin the whole text with ="
            ),
        ));
    }
    if segments.len() < 2 || !ROOTS.contains(&segments[0].as_str()) {
        return Err(Fault::new("TEMPLATE", format!("`{{{{{path}}}}}` is not known; write {{{{variables.{path}}}}}")));
    }
    Ok(segments)
}

fn look_up<'a>(facts: Facts<'a>, path: &[String]) -> Result<&'a Value, Fault> {
    let missing = || Fault::new("TEMPLATE", format!("there is nothing at {{{{{}}}}}", path.join(".")));
    let (root, rest) = path.split_first().ok_or_else(missing)?;
    let (first, rest) = rest.split_first().ok_or_else(missing)?;
    let fields: &'a Map<String, Value> = match root.as_str() {
        "variables" => facts.variables,
        "nodes" => facts.nodes,
        "each" => facts.each,
        _ => facts.execution,
    };
    let mut value = fields.get(first).ok_or_else(missing)?;
    for segment in rest {
        value = match value {
            Value::Object(fields) => fields.get(segment),
            Value::Array(items) => segment.parse::<usize>().ok().and_then(|place| items.get(place)),
            _ => None,
        }
        .ok_or_else(missing)?;
    }
    Ok(value)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        // 20.0 is how a declared number is kept; a text says 20.
        Value::Number(number) if number.is_f64() => number.as_f64().map(said_number).unwrap_or_default(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::budget::Budget;
    use super::*;

    fn render(source: &str) -> Result<String, Fault> {
        let (Value::Object(variables), nodes, execution) =
            (json!({ "amount": 5000.0, "who": { "name": "Ann" }, "l": ["x"] }), Map::new(), Map::new())
        else {
            unreachable!()
        };
        Text::read(source)?.render(Facts {
            variables: &variables,
            nodes: &nodes,
            execution: &execution,
            each: &Map::new(),
            now: crate::api::Timestamp::from_millis(0),
            budget: &Budget::of_transaction(),
        })
    }

    #[test]
    fn places_are_filled_in() {
        assert_eq!(
            render("Approve {{variables.amount}} for {{ variables.who.name }} {{variables.l.0}}!"),
            Ok("Approve 5000 for Ann x!".into())
        );
        assert_eq!(render("plain { braces }"), Ok("plain { braces }".into()));
        assert_eq!(render("= 'Hello ' + variables.who.name"), Ok("Hello Ann".into()));
    }

    #[test]
    fn anything_but_a_path_is_refused_with_what_to_write() {
        assert!(render("{{amount}}").unwrap_err().message.contains("{{variables.amount}}"));
        assert!(render("{{variables.amount * 2}}").unwrap_err().message.contains("begin the whole text with ="));
        assert_eq!(render("{{variables.amount").unwrap_err().code, "TEMPLATE");
        assert!(render("{{variables.none}}").unwrap_err().message.contains("nothing at"));
    }

    #[test]
    fn a_text_that_becomes_too_long_is_refused() {
        assert_eq!(render(&"{{variables.amount}}".repeat(MAX_MADE / 4)).unwrap().len(), MAX_MADE);
        for places in [MAX_MADE / 4 + 1, MAX_MADE * 4] {
            assert!(render(&"{{variables.amount}}".repeat(places)).unwrap_err().message.contains("more than 20000 characters"));
        }
    }
}
