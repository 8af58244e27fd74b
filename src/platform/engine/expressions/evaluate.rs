//! Evaluates a parsed expression by walking it. Every step and every byte is spent of a budget, so that no expression
//! takes more than its share, whatever it is made of.

use std::collections::BTreeMap;
use std::rc::Rc;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators};

use super::budget::Meter;
use super::fault::Fault;
use super::functions;
use super::operate;
use super::values::{ELEMENT, Evaluated, Fields, Key, List, Text, Value};

/// The names of types, which an expression compares with what `type()` gives.
pub const TYPES: [&str; 11] = ["bool", "bytes", "double", "duration", "int", "list", "map", "null_type", "string", "timestamp", "type"];

/// The names in sight, and what is left to spend.
pub struct Evaluator<'a, 'm> {
    /// The facts, and within comprehensions what these bind. An accumulator may hold a fault that a later element makes
    /// irrelevant, as in `[0, 1].exists(x, 1 / x == 1)`.
    names: Vec<(&'a str, Evaluated<'a>)>,
    meter: Meter<'m>,
}

impl<'a, 'm> Evaluator<'a, 'm> {
    /// An evaluator over facts.
    pub fn new(names: impl Iterator<Item = (&'a str, Value<'a>)>, meter: Meter<'m>) -> Self {
        Self { names: names.map(|(name, value)| (name, Ok(value))).collect(), meter }
    }

    /// What is left to spend.
    pub fn meter(&mut self) -> &mut Meter<'m> {
        &mut self.meter
    }

    /// Evaluates an expression or a part of one.
    pub fn evaluate(&mut self, node: &'a IdedExpr) -> Evaluated<'a> {
        self.meter.steps(1)?;
        match &node.expr {
            Expr::Literal(literal) => {
                if let LiteralValue::Bytes(bytes) = literal {
                    self.meter.bytes(bytes.inner().len())?;
                }
                Ok(literal_value(literal))
            }
            Expr::Ident(name) => self.named(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => self.comprehend(comprehension),
            Expr::List(list) => {
                self.meter.bytes(list.elements.len().saturating_mul(ELEMENT))?;
                let items = list.elements.iter().map(|element| self.evaluate(element)).collect::<Result<_, _>>()?;
                Ok(Value::List(List::Made(Rc::new(items))))
            }
            Expr::Map(map) => self.map(map.entries.iter().map(|entry| &entry.expr)),
            Expr::Struct(_) | Expr::Unspecified => {
                Err(Fault::new("EXPRESSION_FAILED", "messages are not supported; write a map, {'name': value}"))
            }
        }
    }

    fn named(&self, name: &str) -> Evaluated<'a> {
        if let Some((_, value)) = self.names.iter().rev().find(|(known, _)| *known == name) {
            return value.clone();
        }
        TYPES
            .iter()
            .find(|known| **known == name)
            .map(|known| Value::Type(known))
            .ok_or_else(|| Fault::new("EXPRESSION_NAME", format!("`{name}` is not known here")))
    }

    fn select(&mut self, select: &'a SelectExpr) -> Evaluated<'a> {
        let operand = self.evaluate(&select.operand)?;
        let Value::Map(fields) = &operand else {
            return Err(Fault::new("EXPRESSION_TYPE", format!("`.{}` needs an object, not a {}", select.field, operand.type_name())));
        };
        let found = fields.get(&Key::Text(Text::Given(&select.field)), &mut self.meter)?;
        if select.test {
            return Ok(Value::Bool(found.is_some()));
        }
        found.ok_or_else(|| Fault::new("EXPRESSION_MISSING", format!("there is no `{}`", select.field)))
    }

    fn map(&mut self, entries: impl ExactSizeIterator<Item = &'a EntryExpr>) -> Evaluated<'a> {
        self.meter.bytes(entries.len().saturating_mul(ELEMENT))?;
        let mut fields = BTreeMap::new();
        for entry in entries {
            let EntryExpr::MapEntry(entry) = entry else {
                return Err(Fault::new("EXPRESSION_FAILED", "messages are not supported; write a map, {'name': value}"));
            };
            let (key, value) = (self.evaluate(&entry.key)?, self.evaluate(&entry.value)?);
            let key = Key::of(&key).ok_or_else(|| {
                Fault::new("EXPRESSION_TYPE", format!("a key must be text, a whole number or a bool, not a {}", key.type_name()))
            })?;
            self.meter.text(key.len())?;
            if let Some(repeated) = fields.insert(key.clone(), value).map(|_| key) {
                return Err(Fault::new("EXPRESSION_FAILED", format!("the key `{repeated}` is there twice")));
            }
        }
        Ok(Value::Map(Fields::Made(Rc::new(fields))))
    }

    fn call(&mut self, call: &'a CallExpr) -> Evaluated<'a> {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND, [left, right]) => self.logic(left, right, false),
            (operators::LOGICAL_OR, [left, right]) => self.logic(left, right, true),
            (operators::CONDITIONAL, [condition, then, otherwise]) => match self.evaluate(condition)? {
                Value::Bool(true) => self.evaluate(then),
                Value::Bool(false) => self.evaluate(otherwise),
                other => Err(Fault::new("EXPRESSION_TYPE", format!("`? :` needs true or false, not a {}", other.type_name()))),
            },
            (operators::NOT_STRICTLY_FALSE, [operand]) => match self.evaluate(operand) {
                Ok(Value::Bool(flag)) => Ok(Value::Bool(flag)),
                Err(spent) if spent.is_cost() => Err(spent),
                _ => Ok(Value::Bool(true)),
            },
            (operators::ADD, [IdedExpr { expr: Expr::Ident(name), .. }, IdedExpr { expr: Expr::List(list), .. }])
                if name.starts_with('@') =>
            {
                self.append(name, &list.elements)
            }
            (name, arguments) => {
                let target = call.target.as_deref().map(|target| self.evaluate(target)).transpose()?;
                let arguments = arguments.iter().map(|argument| self.evaluate(argument)).collect::<Result<Vec<_>, _>>()?;
                match (operate::operator(name), target) {
                    (Some(operator), None) => operator(&arguments, &mut self.meter),
                    (_, target) => functions::call(name, target.as_ref(), &arguments, &mut self.meter),
                }
            }
        }
    }

    /// `&&` and `||`: one side alone may decide, also where the other one fails.
    fn logic(&mut self, left: &'a IdedExpr, right: &'a IdedExpr, decides: bool) -> Evaluated<'a> {
        let mut fault = None;
        for side in [left, right] {
            match self.evaluate(side) {
                Ok(Value::Bool(flag)) if flag == decides => return Ok(Value::Bool(decides)),
                Ok(Value::Bool(_)) => {}
                Ok(other) => {
                    let sign = if decides { "||" } else { "&&" };
                    fault.get_or_insert_with(|| {
                        Fault::new("EXPRESSION_TYPE", format!("`{sign}` needs true or false, not a {}", other.type_name()))
                    });
                }
                Err(spent) if spent.is_cost() => return Err(spent),
                Err(failed) => {
                    fault.get_or_insert(failed);
                }
            }
        }
        fault.map_or(Ok(Value::Bool(!decides)), Err)
    }

    /// `map` and `filter` add each element to a list that is theirs alone, so it grows in place.
    fn append(&mut self, accumulator: &str, elements: &'a [IdedExpr]) -> Evaluated<'a> {
        self.meter.bytes(elements.len().saturating_mul(ELEMENT))?;
        let added = elements.iter().map(|element| self.evaluate(element)).collect::<Result<Vec<_>, _>>()?;
        let held = self.names.iter_mut().rev().find(|(name, _)| *name == accumulator);
        match held.map(|(_, value)| std::mem::replace(value, Ok(Value::Null))) {
            Some(Ok(Value::List(List::Made(mut items)))) => {
                Rc::make_mut(&mut items).extend(added);
                Ok(Value::List(List::Made(items)))
            }
            Some(Err(fault)) => Err(fault),
            _ => Err(Fault::new("EXPRESSION_FAILED", "the list that is made is not a list")),
        }
    }

    fn comprehend(&mut self, all: &'a ComprehensionExpr) -> Evaluated<'a> {
        let range: Vec<Value<'a>> = match self.evaluate(&all.iter_range)? {
            Value::List(list) => {
                self.meter.bytes(list.len().saturating_mul(ELEMENT))?;
                list.iter().collect()
            }
            Value::Map(fields) => {
                self.meter.bytes(fields.len().saturating_mul(ELEMENT))?;
                fields.iter().map(|(key, _)| key.value()).collect()
            }
            other => {
                return Err(Fault::new(
                    "EXPRESSION_TYPE",
                    format!("a {} cannot be gone through; a list or an object can", other.type_name()),
                ));
            }
        };
        let first = self.evaluate(&all.accu_init)?;
        let outside = self.names.len();
        self.names.push((&all.accu_var, Ok(first)));
        let mut goes_on = Ok(true);
        for element in range {
            self.names.truncate(outside + 1);
            goes_on = self.pass(all, element);
            if !matches!(goes_on, Ok(true)) {
                break;
            }
        }
        self.names.truncate(outside + 1);
        let result = goes_on.and_then(|_| self.evaluate(&all.result));
        self.names.truncate(outside);
        result
    }

    /// One pass over an element; false where the loop is over.
    fn pass(&mut self, all: &'a ComprehensionExpr, element: Value<'a>) -> Result<bool, Fault> {
        if !matches!(self.evaluate(&all.loop_cond)?, Value::Bool(true)) {
            return Ok(false);
        }
        let accumulator = self.names.len() - 1;
        self.names.push((&all.iter_var, Ok(element)));
        let step = self.evaluate(&all.loop_step);
        match step {
            Err(spent) if spent.is_cost() => Err(spent),
            step => {
                if let Some((_, value)) = self.names.get_mut(accumulator) {
                    *value = step;
                }
                Ok(true)
            }
        }
    }
}

fn literal_value(literal: &LiteralValue) -> Value<'_> {
    match literal {
        LiteralValue::Boolean(flag) => Value::Bool(*flag.inner()),
        LiteralValue::Bytes(bytes) => Value::Bytes(bytes.inner().into()),
        LiteralValue::Double(number) => Value::Fraction(*number.inner()),
        LiteralValue::Int(whole) => Value::Whole((*whole.inner()).into()),
        LiteralValue::UInt(whole) => Value::Whole((*whole.inner()).into()),
        LiteralValue::Null => Value::Null,
        LiteralValue::String(text) => Value::Text(Text::Given(text.inner())),
    }
}
