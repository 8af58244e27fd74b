//! Conditions and scripts: CEL over the variables of an execution and the results of its nodes, within limits.
//!
//! The `cel` crate parses. Evaluating is ours, since the crate's can be neither interrupted nor charged, and mixes no
//! whole numbers with fractions. Length and brackets are bounded before the parser runs, and an expression is compiled
//! and evaluated on the threads of the database alone, whose stacks are large.

use cel::parser::Expression as Parsed;
use cel::parser::PrattParser;
use serde_json::{Map, Value};

use super::budget::Budget;
use super::evaluate::{Evaluator, TYPES};
use super::fault::Fault;
use super::functions::FUNCTIONS;
use super::reading::{Found, Side, shape_of, side_of};
use super::shape::Shape;
use super::values::{self, Fields};
use crate::api::Timestamp;

/// Longest expression, in bytes.
pub const MAX_LENGTH: usize = 2048;
/// Deepest nesting of brackets.
pub const MAX_DEPTH: usize = 16;
/// Most comprehensions (`all`, `exists`, `exists_one`, `map`, `filter`) within one another.
const MAX_LOOPS: usize = 2;

/// What an expression can see.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The variables of the execution, as `variables`.
    pub variables: &'a Map<String, Value>,
    /// The results of the nodes so far, as `nodes`.
    pub nodes: &'a Map<String, Value>,
    /// The execution itself, as `execution`: id, processId, version, initiator, startedAt.
    pub execution: &'a Map<String, Value>,
    /// The item of a list that a step works on, as `each`: item, index, count.
    pub each: &'a Map<String, Value>,
    /// The time of the step, as `now`.
    pub now: Timestamp,
    /// What evaluating may cost.
    pub budget: &'a Budget,
}

/// The names that an expression can begin with.
pub const ROOTS: [&str; 5] = ["variables", "nodes", "execution", "each", "now"];

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    parsed: Parsed,
    source: String,
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
        let parsed = PrattParser::new().parse(source).map_err(|errors| {
            let what = errors.errors.first().map_or_else(|| errors.to_string(), |error| error.msg.clone());
            Fault::new("EXPRESSION_SYNTAX", format!("{} does not compile: {}", shown(source), shortened(&what)))
        })?;
        let mut found = Found::default();
        found.read(&parsed, &mut Vec::new());
        if found.loops > MAX_LOOPS {
            return Err(Fault::new(
                "EXPRESSION_COST",
                format!("{} goes through lists within {MAX_LOOPS} others. Split it into script nodes", shown(source)),
            ));
        }
        if let Some(unknown) = found.functions.iter().find(|name| !is_function(name)) {
            return Err(Fault::new(
                "EXPRESSION_FUNCTION",
                format!("{} calls `{unknown}`, which there is not; there are {}", shown(source), FUNCTIONS.join(", ")),
            ));
        }
        if let Some(unknown) = found.paths.iter().map(|path| path[0].as_str()).find(|name| !roots.contains(name) && !TYPES.contains(name)) {
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
        Ok(Self { parsed, source: source.to_owned() })
    }

    /// The paths that it reads, such as `["variables", "amount"]`.
    #[must_use]
    pub fn paths(&self) -> Vec<Vec<String>> {
        self.found().paths
    }

    /// What it is made of.
    #[must_use]
    pub fn found(&self) -> Found {
        let mut found = Found::default();
        found.read(&self.parsed, &mut Vec::new());
        found
    }

    /// The whole of it, as a side of a comparison.
    #[must_use]
    pub fn side(&self) -> Side {
        side_of(&self.parsed, &[])
    }

    /// What it gives, as far as its form says.
    #[must_use]
    pub fn shape(&self) -> Shape {
        shape_of(&self.parsed)
    }

    /// Evaluates it to JSON.
    pub fn evaluate(&self, facts: Facts<'_>) -> Result<Value, Fault> {
        let fields = [("variables", facts.variables), ("nodes", facts.nodes), ("execution", facts.execution), ("each", facts.each)];
        self.evaluate_with(&fields, Some(("now", values::Value::Time(facts.now.utc()))), facts.budget)
    }

    /// Evaluates it over the names that it was compiled for.
    pub fn evaluate_over(&self, facts: &[(&str, &Map<String, Value>)], budget: &Budget) -> Result<Value, Fault> {
        self.evaluate_with(facts, None, budget)
    }

    fn evaluate_with(
        &self,
        facts: &[(&str, &Map<String, Value>)],
        more: Option<(&str, values::Value<'_>)>,
        budget: &Budget,
    ) -> Result<Value, Fault> {
        let names = facts.iter().map(|(name, fields)| (*name, values::Value::Map(Fields::Given(fields)))).chain(more);
        let mut meter = budget.meter();
        meter.parsed(self.source.len()).map_err(|fault| self.explain(fault, facts))?;
        let mut evaluator = Evaluator::new(names, meter);
        let result = evaluator.evaluate(&self.parsed).and_then(|value| value.to_json(evaluator.meter()));
        result.map_err(|fault| self.explain(fault, facts))
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

    /// Says which expression failed, and what there is where a name is missing.
    fn explain(&self, fault: Fault, facts: &[(&str, &Map<String, Value>)]) -> Fault {
        let mut what = fault.message;
        if fault.code == "EXPRESSION_MISSING" {
            let known: Vec<&str> = facts.first().into_iter().flat_map(|(_, first)| first.keys()).map(String::as_str).take(20).collect();
            let known = if known.is_empty() { "there are no variables".to_owned() } else { format!("variables are {}", known.join(", ")) };
            what = format!("{what}; {known}. Use has(...) where it may be absent");
        }
        Fault::new(fault.code, format!("{}: {}", shown(&self.source), shortened(&what)))
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
        large(|| {
            Expression::compile(source)?.evaluate(Facts {
                variables: &variables,
                nodes: &nodes,
                execution: &Map::new(),
                each: &Map::new(),
                now: Timestamp::from_millis(0),
                budget: &Budget::of_transaction(),
            })
        })
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
    fn a_long_text_costs_what_it_takes_to_read() {
        let facts = || json!({ "l": vec![0; 3_000], "b": "1h".repeat(50_000), "m": { "a": 1 }, "k": { "k".repeat(100_000): 1 } });
        for source in [
            "variables.l.map(x, duration(variables.b))",
            "variables.l.exists(x, int(variables.b) == 1)",
            "variables.l.exists(x, timestamp(0).getHours(variables.b) == 1)",
            "variables.l.all(x, !(variables.b in variables.m))",
            "variables.l.exists(x, variables.m[variables.b] == 1)",
            "variables.l.map(x, {variables.b: 1}).size()",
            "variables.l.all(x, variables.k == variables.k)",
            "variables.l.map(x, b'\\xff\\xff\\xff\\xff\\xff\\xff' + bytes(variables.b))",
        ] {
            assert_eq!(code(source, facts()), "EXPRESSION_COST", "{source}");
        }
        // Keys are not copied, however often they are gone through.
        assert_eq!(evaluate("variables.l.map(x, variables.k.map(k, k)).size()", facts()), Ok(json!(3_000)));
    }

    #[test]
    fn whole_numbers_and_fractions_mix() {
        let facts = || json!({ "price": 20, "list": [1, 2.5, 3], "big": 9_007_199_254_740_993_i64 });
        assert_eq!(evaluate("variables.price * 1.2", facts()), Ok(json!(24.0)));
        assert_eq!(evaluate("variables.list[0] + variables.list[1] + variables.list[2]", facts()), Ok(json!(6.5)));
        assert_eq!(evaluate("variables.price in [20.0] && 1 == 1.0 && 2 < 2.5 && variables.list[1.0] == 2.5", facts()), Ok(json!(true)));
        assert_eq!(evaluate("variables.big == 9007199254740992.0", facts()), Ok(json!(false)));
        assert_eq!(evaluate("7 / 2 == 3 && 7.0 / 2 == 3.5 && -7 % 3 == -1", facts()), Ok(json!(true)));
        assert_eq!(evaluate("string(24.0) + ' ' + string(0.5)", facts()), Ok(json!("24 0.5")));
    }

    #[test]
    fn every_function_that_is_offered_exists() {
        for function in FUNCTIONS {
            let call = match function {
                "contains" | "startsWith" | "endsWith" => format!("'ab'.{function}('a')"),
                "int" | "uint" | "double" => format!("{function}('1')"),
                "bool" => "bool('true')".to_owned(),
                "type" => "type(1) == int".to_owned(),
                "bytes" => "bytes('a') == b'a'".to_owned(),
                "timestamp" => "timestamp('2026-01-31T09:00:00Z')".to_owned(),
                "duration" => "duration('1h30m')".to_owned(),
                getter if getter.starts_with("get") => format!("timestamp('2026-01-31').{getter}()"),
                _ => format!("{function}('a')"),
            };
            let result = evaluate(&call, json!({}));
            assert!(result.is_ok(), "{call}: {result:?}");
        }
    }

    #[test]
    fn times_are_compared_and_reckoned_with() {
        let due = || json!({ "due": "2030-05-01T10:00:00Z" });
        assert_eq!(evaluate("timestamp(variables.due) < timestamp('2031-01-01')", due()), Ok(json!(true)));
        assert_eq!(evaluate("string(timestamp(variables.due) - duration('48h'))", due()), Ok(json!("2030-04-29T10:00:00.000Z")));
        assert_eq!(evaluate("timestamp(variables.due) - timestamp('2030-04-30T10:00:00Z')", due()), Ok(json!("86400s")));
        assert_eq!(evaluate("timestamp(variables.due).getHours('+02:00')", due()), Ok(json!(12)));
        for (text, seconds) in
            [("1h30m", "5400s"), ("-2.5h", "-9000s"), ("P1DT12H", "129600s"), ("PT0.5S", "0.5s"), ("P2W", "1209600s"), ("0", "0s")]
        {
            assert_eq!(evaluate(&format!("duration('{text}')"), due()), Ok(json!(seconds)), "{text}");
        }
        for neither in ["", "1", "h", "P", "PT", "P1Y", "P1M", "1h P", "1.2.3s"] {
            assert_eq!(code(&format!("duration('{neither}')"), due()), "EXPRESSION_FAILED", "{neither}");
        }
        assert_eq!(code("timestamp('tomorrow')", due()), "EXPRESSION_FAILED");
        assert_eq!(code("timestamp(variables.due) + 1", due()), "EXPRESSION_TYPE");
    }

    #[test]
    fn a_part_that_decides_alone_makes_another_fault_irrelevant() {
        assert_eq!(evaluate("variables.x > 1 || true", json!({})), Ok(json!(true)));
        assert_eq!(evaluate("false && variables.x", json!({})), Ok(json!(false)));
        assert_eq!(evaluate("[0, 1].exists(x, 1 / x == 1)", json!({})), Ok(json!(true)));
        assert_eq!(code("[0, 1].all(x, 1 / x == 1)", json!({})), "EXPRESSION_FAILED");
    }

    #[test]
    fn what_is_missing_is_an_error_that_says_what_there_is() {
        let fault = evaluate("variables.amout > 1", json!({ "amount": 1 })).unwrap_err();
        assert_eq!(fault.code, "EXPRESSION_MISSING");
        assert!(fault.message.contains("variables are amount"), "{}", fault.message);
        assert_eq!(code("amount > 1", json!({ "amount": 1 })), "EXPRESSION_NAME");
        assert_eq!(code("variables.a.matches('x')", json!({ "a": "x" })), "EXPRESSION_FUNCTION");
        assert_eq!(code("variables.a * 1.5", json!({ "a": "2" })), "EXPRESSION_TYPE");
        assert_eq!(code("1 / variables.a", json!({ "a": 0 })), "EXPRESSION_FAILED");
        assert_eq!(code("1.0 / double(variables.a)", json!({ "a": 0 })), "EXPRESSION_RESULT");
    }

    #[test]
    fn a_condition_is_true_or_false() {
        let holds = |source: &str| {
            let none = Map::new();
            large(|| {
                let budget = Budget::of_transaction();
                Expression::compile(source)?.holds(Facts {
                    variables: &none,
                    nodes: &none,
                    execution: &none,
                    each: &none,
                    now: Timestamp::from_millis(0),
                    budget: &budget,
                })
            })
        };
        assert_eq!(holds("1 < 2"), Ok(true));
        assert_eq!(holds("1 + 2").unwrap_err().code, "EXPRESSION_RESULT");
    }

    #[test]
    fn bombs_are_refused_before_they_run() {
        assert_eq!(code("", json!({})), "EXPRESSION_EMPTY");
        assert_eq!(code(&"1+".repeat(2000), json!({})), "EXPRESSION_LENGTH");
        assert_eq!(code(&format!("{}1{}", "(".repeat(20), ")".repeat(20)), json!({})), "EXPRESSION_DEPTH");
        assert_eq!(code("1 +", json!({})), "EXPRESSION_SYNTAX");
        assert_eq!(evaluate(&format!("{}1", "false?0:".repeat(250)), json!({})), Ok(json!(1)));
        assert!(evaluate(&format!("{}true", "!".repeat(2000)), json!({})).is_ok());
        assert!(evaluate(&format!("1{}", "+1".repeat(1000)), json!({})).is_ok());
    }

    #[test]
    fn what_takes_too_much_is_stopped_while_it_runs() {
        let list = || json!({ "l": vec![1; 30_000], "s": "x".repeat(1_000_000) });
        for bomb in [
            "variables.l.map(x, variables)",
            "variables.l.all(a, variables.l.all(b, a + b >= 0))",
            "variables.l.all(a, size((variables.l + variables.l).filter(b, b > 1)) == 0)",
            "variables.l.map(x, variables.s + variables.s)",
            "variables.l.exists(x, variables.s.contains('y'))",
            "variables.l.all(x, !(x + 1 in variables.l)) || true",
            "variables.l.exists(x, variables == variables && false)",
            "[variables, variables, variables, variables, variables, variables, variables, variables, variables]",
            "{'a': variables.l.map(x, variables.l)}",
        ] {
            assert_eq!(code(bomb, list()), "EXPRESSION_COST", "{bomb}");
        }
        assert_eq!(code(&format!("variables.s{}", "+variables.s".repeat(100)), list()), "EXPRESSION_COST");
        let thrice = "variables.l.all(a, variables.l.all(b, variables.l.all(c, true)))";
        assert_eq!(code(thrice, json!({ "l": [1] })), "EXPRESSION_COST");
        let fine = "variables.l.all(a, variables.l.all(b, a + b >= 0))";
        assert_eq!(evaluate(fine, json!({ "l": vec![1; 100] })), Ok(json!(true)));
        assert_eq!(evaluate("size(variables.l.map(x, x * 2))", list()), Ok(json!(30_000)));
    }

    #[test]
    fn evaluations_share_the_budget_of_their_transaction() {
        let Value::Object(variables) = json!({ "l": vec![1; 10_000] }) else { unreachable!() };
        let none = Map::new();
        let codes = large(|| {
            let budget = Budget::of_transaction();
            let facts = Facts {
                variables: &variables,
                nodes: &none,
                execution: &none,
                each: &none,
                now: Timestamp::from_millis(0),
                budget: &budget,
            };
            let expression = Expression::compile("variables.l.all(x, x > 0)").unwrap();
            std::iter::from_fn(|| Some(expression.evaluate(facts))).take(100).find_map(Result::err).map(|fault| fault.code)
        });
        assert_eq!(codes, Some("EXPRESSION_COST"));
    }

    #[test]
    fn a_result_that_is_nested_too_deep_is_refused() {
        let deep = (0..70).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(code("variables.deep", json!({ "deep": deep })), "EXPRESSION_RESULT");
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
