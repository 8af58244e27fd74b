//! Conditions and scripts: CEL over the variables of an execution and the results of its nodes, within limits.
//!
//! The parser needs far more stack than a worker thread has, and a comprehension has no limit of its own. So length,
//! brackets and comprehensions are bounded before anything runs, the cost is bounded before it is evaluated, and an
//! expression is compiled on the threads of the database alone, whose stacks are large.

use std::sync::{Arc, LazyLock};

use cel::{Context, Env, ExecutionError, Program};
use serde_json::{Map, Value};

use super::reading::Found;
use super::values::{Size, to_cel_map, to_json};

/// Longest expression, in bytes.
pub const MAX_LENGTH: usize = 2048;
/// Deepest nesting of brackets.
pub const MAX_DEPTH: usize = 16;
/// Most comprehensions (`all`, `exists`, `exists_one`, `map`, `filter`) in one expression.
pub const MAX_COMPREHENSIONS: u32 = 2;
/// Most steps that the comprehensions of one expression may take.
const MAX_STEPS: u64 = 1_000_000;
/// Most text that one expression may put together, in bytes.
const MAX_TEXT: u64 = 64 * 1024 * 1024;

/// The functions that an expression can call, besides operators and comprehensions.
const FUNCTIONS: [&str; 12] =
    ["size", "contains", "startsWith", "endsWith", "int", "uint", "double", "string", "bytes", "bool", "type", "dyn"];

static LANGUAGE: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// What is wrong with an expression, or went wrong when it ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A stable code, such as `EXPRESSION_SYNTAX`.
    pub code: &'static str,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl Fault {
    /// A fault with its code.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What an expression can see.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The variables of the execution, as `variables`.
    pub variables: &'a Map<String, Value>,
    /// The results of the nodes so far, as `nodes`.
    pub nodes: &'a Map<String, Value>,
    /// The execution itself, as `execution`: id, processId, version, initiator, startedAt.
    pub execution: &'a Map<String, Value>,
}

/// The names that an expression can begin with.
pub const ROOTS: [&str; 3] = ["variables", "nodes", "execution"];

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    program: Program,
    source: String,
    comprehensions: u32,
}

impl Expression {
    /// Compiles an expression of a process; needs a large stack.
    pub fn compile(source: &str) -> Result<Self, Fault> {
        Self::compile_over(source, &ROOTS)
    }

    /// Compiles an expression over other names, such as those of a role's condition; needs a large stack.
    pub fn compile_over(source: &str, roots: &[&str]) -> Result<Self, Fault> {
        let source = source.strip_prefix('=').unwrap_or(source).trim();
        check_shape(source)?;
        let program = LANGUAGE.compile(source).map_err(|errors| {
            let what = errors.errors.first().map_or_else(|| errors.to_string(), |error| error.msg.clone());
            Fault::new("EXPRESSION_SYNTAX", format!("{} does not compile: {}", shown(source), shortened(&what)))
        })?;
        let mut found = Found::default();
        found.read(program.expression(), &mut Vec::new());
        if found.comprehensions > MAX_COMPREHENSIONS {
            return Err(Fault::new(
                "EXPRESSION_COST",
                format!(
                    "{} goes through lists {} times; at most {MAX_COMPREHENSIONS} are allowed. Split it into script nodes",
                    shown(source),
                    found.comprehensions
                ),
            ));
        }
        if let Some(unknown) = found.functions.iter().find(|name| !is_function(name)) {
            return Err(Fault::new(
                "EXPRESSION_FUNCTION",
                format!("{} calls `{unknown}`, which there is not; there are {}", shown(source), FUNCTIONS.join(", ")),
            ));
        }
        if let Some(unknown) = found.paths.iter().map(|path| path[0].as_str()).find(|name| !roots.contains(name)) {
            if roots != ROOTS {
                return Err(Fault::new(
                    "EXPRESSION_NAME",
                    format!("{} uses `{unknown}`, which is not known here; there are {}", shown(source), roots.join(", ")),
                ));
            }
            return Err(Fault::new(
                "EXPRESSION_NAME",
                format!(
                    "{} uses `{unknown}`, which is not known here. Write `variables.{unknown}` for a variable, \
                     `nodes[\"<node id>\"].{unknown}` for what a node gave",
                    shown(source)
                ),
            ));
        }
        Ok(Self { program, source: source.to_owned(), comprehensions: found.comprehensions })
    }

    /// The paths that it reads, such as `["variables", "amount"]`.
    #[must_use]
    pub fn paths(&self) -> Vec<Vec<String>> {
        let mut found = Found::default();
        found.read(self.program.expression(), &mut Vec::new());
        found.paths
    }

    /// Evaluates it to JSON.
    pub fn evaluate(&self, facts: Facts<'_>) -> Result<Value, Fault> {
        self.evaluate_over(&[("variables", facts.variables), ("nodes", facts.nodes), ("execution", facts.execution)])
    }

    /// Evaluates it over the names that it was compiled for.
    pub fn evaluate_over(&self, facts: &[(&str, &Map<String, Value>)]) -> Result<Value, Fault> {
        self.check_cost(facts)?;
        let mut context = Context::with_env(Arc::clone(&LANGUAGE));
        for (name, fields) in facts {
            context.add_variable_from_value(*name, to_cel_map(fields));
        }
        let value = self.program.execute(&context).map_err(|error| self.explain(&error, facts))?;
        to_json(&value)
            .ok_or_else(|| Fault::new("EXPRESSION_RESULT", format!("{} gives something that JSON cannot hold", shown(&self.source))))
    }

    /// Evaluates it as a condition.
    pub fn holds(&self, facts: Facts<'_>) -> Result<bool, Fault> {
        match self.evaluate(facts)? {
            Value::Bool(holds) => Ok(holds),
            other => Err(Fault::new(
                "EXPRESSION_RESULT",
                format!("{} gives {}, but a condition must be true or false", shown(&self.source), shortened(&other.to_string())),
            )),
        }
    }

    fn check_cost(&self, facts: &[(&str, &Map<String, Value>)]) -> Result<(), Fault> {
        let mut size = Size::default();
        for (_, fields) in facts {
            size.add_fields(fields);
        }
        let steps = size.nodes.saturating_pow(self.comprehensions);
        let joins = self.source.bytes().filter(|byte| *byte == b'+').count() as u64;
        let longest = size.longest.max(self.source.len() as u64);
        let text = longest.saturating_mul(if self.comprehensions == 0 { joins } else { steps });
        if steps > MAX_STEPS || text > MAX_TEXT {
            return Err(Fault::new(
                "EXPRESSION_COST",
                format!("{} would take too long over {} values. Keep lists short, or compute in steps", shown(&self.source), size.nodes),
            ));
        }
        Ok(())
    }

    fn explain(&self, error: &ExecutionError, facts: &[(&str, &Map<String, Value>)]) -> Fault {
        let (code, what) = match error {
            ExecutionError::NoSuchKey(key) => {
                let known: Vec<&str> = facts.first().into_iter().flat_map(|(_, first)| first.keys()).map(String::as_str).take(20).collect();
                let known =
                    if known.is_empty() { "there are no variables".to_owned() } else { format!("variables are {}", known.join(", ")) };
                ("EXPRESSION_MISSING", format!("there is no `{key}`; {known}. Use has(...) where it may be absent"))
            }
            ExecutionError::NoSuchOverload(_) | ExecutionError::UnsupportedBinaryOperator(..) => (
                "EXPRESSION_TYPE",
                format!("{error}. Convert with int(), double() or string(); a whole number and a fraction do not mix: write 2.0, not 2"),
            ),
            other => ("EXPRESSION_FAILED", other.to_string()),
        };
        Fault::new(code, format!("{}: {}", shown(&self.source), shortened(&what)))
    }
}

/// Length and brackets.
fn check_shape(source: &str) -> Result<(), Fault> {
    if source.is_empty() {
        return Err(Fault::new("EXPRESSION_EMPTY", "the expression is empty"));
    }
    if source.len() > MAX_LENGTH {
        return Err(Fault::new(
            "EXPRESSION_LENGTH",
            format!("the expression has {} bytes; at most {MAX_LENGTH} are allowed", source.len()),
        ));
    }
    // Brackets within a text literal count too: where a literal ends is for the parser to say.
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    if deepest > MAX_DEPTH {
        return Err(Fault::new("EXPRESSION_DEPTH", format!("{} nests brackets deeper than {MAX_DEPTH}", shown(source))));
    }
    Ok(())
}

fn is_function(name: &str) -> bool {
    FUNCTIONS.contains(&name) || name.starts_with(['@', '_', '!', '-'])
}

fn shown(source: &str) -> String {
    crate::api::arguments::quote(source)
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const STACK: usize = 64 * 1024 * 1024;

    fn large<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).unwrap().join().unwrap())
    }

    fn evaluate(source: &str, variables: Value) -> Result<Value, Fault> {
        let Value::Object(variables) = variables else { panic!("variables are an object") };
        let Value::Object(nodes) = json!({ "node-1": { "decision": "approve" } }) else { unreachable!() };
        large(|| Expression::compile(source)?.evaluate(Facts { variables: &variables, nodes: &nodes, execution: &Map::new() }))
    }

    fn code(source: &str, variables: Value) -> &'static str {
        evaluate(source, variables).unwrap_err().code
    }

    #[test]
    fn numbers_text_and_lists_are_those_of_json() {
        assert_eq!(evaluate("variables.amount + 1 > 5000", json!({ "amount": 5000 })), Ok(json!(true)));
        assert_eq!(evaluate("= variables.price * 2.0", json!({ "price": 1.5 })), Ok(json!(3.0)));
        assert_eq!(evaluate("double(variables.n) * 1.5", json!({ "n": 2 })), Ok(json!(3.0)));
        assert_eq!(evaluate("nodes[\"node-1\"].decision == 'approve'", json!({})), Ok(json!(true)));
        assert_eq!(
            evaluate("{'b': variables.l.map(x, x * 2), 'a': string(variables.l[0])}", json!({ "l": [1, 2] })),
            Ok(json!({ "a": "1", "b": [2, 4] }))
        );
        assert_eq!(evaluate("has(variables.x) ? 1 : 2", json!({})), Ok(json!(2)));
        assert_eq!(evaluate("null", json!({})), Ok(Value::Null));
    }

    #[test]
    fn every_function_that_is_offered_exists() {
        for function in FUNCTIONS {
            let call = match function {
                "contains" | "startsWith" | "endsWith" => format!("'ab'.{function}('a')"),
                "int" | "uint" | "double" => format!("{function}('1')"),
                "bool" => "bool('true')".to_owned(),
                "type" => "type(1) == int".to_owned(),
                _ => format!("{function}('a')"),
            };
            let result = large(|| LANGUAGE.compile(&call).unwrap().execute(&Context::with_env(Arc::clone(&LANGUAGE))).map(|_| ()));
            assert!(result.is_ok(), "{call}: {result:?}");
        }
    }

    #[test]
    fn what_is_missing_is_an_error_that_says_what_there_is() {
        let fault = evaluate("variables.amout > 1", json!({ "amount": 1 })).unwrap_err();
        assert_eq!(fault.code, "EXPRESSION_MISSING");
        assert!(fault.message.contains("variables are amount"), "{}", fault.message);
        assert_eq!(code("amount > 1", json!({ "amount": 1 })), "EXPRESSION_NAME");
        assert_eq!(code("variables.a.matches('x')", json!({ "a": "x" })), "EXPRESSION_FUNCTION");
        assert_eq!(code("variables.a * 1.5", json!({ "a": 2 })), "EXPRESSION_TYPE");
        assert_eq!(code("1 / variables.a", json!({ "a": 0 })), "EXPRESSION_FAILED");
        assert_eq!(code("1.0 / double(variables.a)", json!({ "a": 0 })), "EXPRESSION_RESULT");
    }

    #[test]
    fn a_condition_is_true_or_false() {
        let none = Map::new();
        let facts = Facts { variables: &none, nodes: &none, execution: &none };
        assert_eq!(large(|| Expression::compile("1 < 2").unwrap().holds(facts)), Ok(true));
        assert_eq!(large(|| Expression::compile("1 + 2").unwrap().holds(facts)).unwrap_err().code, "EXPRESSION_RESULT");
    }

    #[test]
    fn bombs_are_refused_before_they_run() {
        assert_eq!(code("", json!({})), "EXPRESSION_EMPTY");
        assert_eq!(code(&"1+".repeat(2000), json!({})), "EXPRESSION_LENGTH");
        assert_eq!(code(&format!("{}1{}", "(".repeat(20), ")".repeat(20)), json!({})), "EXPRESSION_DEPTH");
        assert_eq!(code("1 +", json!({})), "EXPRESSION_SYNTAX");
        assert_eq!(code(&format!("{}1", "1?1:".repeat(500)), json!({})), "EXPRESSION_SYNTAX");
        assert!(evaluate(&format!("{}true", "!".repeat(2000)), json!({})).is_ok());
        assert!(evaluate(&format!("1{}", "+1".repeat(1000)), json!({})).is_ok());
        let thrice = "variables.l.all(a, variables.l.all(b, variables.l.all(c, true)))";
        assert_eq!(code(thrice, json!({ "l": [1] })), "EXPRESSION_COST");
        let twice = "variables.l.all(a, variables.l.all(b, a + b >= 0))";
        assert_eq!(code(twice, json!({ "l": vec![1; 2000] })), "EXPRESSION_COST");
        assert_eq!(evaluate(twice, json!({ "l": vec![1; 100] })), Ok(json!(true)));
        let text = json!({ "s": "x".repeat(1_000_000), "l": vec![1; 500] });
        assert_eq!(code("variables.l.map(x, variables.s)", text.clone()), "EXPRESSION_COST");
        assert_eq!(code(&format!("variables.s{}", "+variables.s".repeat(100)), text), "EXPRESSION_COST");
    }

    #[test]
    fn a_bomb_leaves_the_thread_alive_at_the_deepest_allowed_nesting() {
        let source = format!("{}variables.a{}", "(".repeat(MAX_DEPTH), ")".repeat(MAX_DEPTH));
        assert_eq!(evaluate(&source, json!({ "a": 7 })), Ok(json!(7)));
    }

    #[test]
    fn the_paths_that_are_read_leave_out_what_is_bound() {
        let paths = large(|| {
            Expression::compile("variables.items.exists(i, i.price > variables.limit) && nodes['a-b'].decision == 'x'").unwrap().paths()
        });
        assert_eq!(paths, [vec!["variables", "items"], vec!["variables", "limit"], vec!["nodes", "a-b", "decision"]]);
    }
}
