//! What an expression is made of: the paths that it reads, the functions that it calls, and what it compares.

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, operators};

use super::shape::Shape;

/// What an expression is made of.
#[derive(Default)]
pub struct Found {
    /// How deep comprehensions stand within one another.
    pub loops: usize,
    pub functions: Vec<String>,
    pub paths: Vec<Vec<String>>,
    /// The paths that it asks for with `has` or `in` before it reads them.
    pub asked: Vec<Vec<String>>,
    /// What it holds for equal or different.
    pub compared: Vec<(Side, Side)>,
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// What stands at a path.
    Path(Vec<String>),
    /// A text, written out.
    Text(String),
    /// Anything else, of that shape.
    Of(Shape),
}

impl Found {
    /// Reads an expression and what is below it.
    pub fn read<'e>(&mut self, node: &'e IdedExpr, bound: &mut Vec<&'e str>) {
        if let Some(path) = path_of(node) {
            if !path[0].starts_with('@') && !bound.contains(&path[0].as_str()) {
                if matches!(&node.expr, Expr::Select(select) if select.test) {
                    self.asked.push(path.clone());
                }
                self.paths.push(path);
            }
            return;
        }
        match &node.expr {
            Expr::Call(call) => {
                self.functions.push(call.func_name.clone());
                self.compare(&call.func_name, &call.args, bound);
                call.target.iter().for_each(|target| self.read(target, bound));
                call.args.iter().for_each(|argument| self.read(argument, bound));
            }
            Expr::Comprehension(comprehension) => {
                self.read(&comprehension.iter_range, bound);
                self.read(&comprehension.accu_init, bound);
                let outside = bound.len();
                bound.push(&comprehension.iter_var);
                bound.extend(comprehension.iter_var2.as_deref());
                bound.push(&comprehension.accu_var);
                // An accumulator is bound once for each comprehension around.
                self.loops = self.loops.max(bound.iter().filter(|name| name.starts_with('@')).count());
                self.read(&comprehension.loop_cond, bound);
                self.read(&comprehension.loop_step, bound);
                self.read(&comprehension.result, bound);
                bound.truncate(outside);
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.read(element, bound)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.read_entry(&entry.expr, bound)),
            Expr::Struct(made) => made.entries.iter().for_each(|entry| self.read_entry(&entry.expr, bound)),
            Expr::Select(select) => self.read(&select.operand, bound),
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        }
    }

    fn read_entry<'e>(&mut self, entry: &'e EntryExpr, bound: &mut Vec<&'e str>) {
        match entry {
            EntryExpr::MapEntry(entry) => {
                self.read(&entry.key, bound);
                self.read(&entry.value, bound);
            }
            EntryExpr::StructField(field) => self.read(&field.value, bound),
        }
    }

    /// Notes what an operator compares.
    fn compare(&mut self, operator: &str, operands: &[IdedExpr], bound: &[&str]) {
        let [left, right] = operands else { return };
        match operator {
            operators::EQUALS | operators::NOT_EQUALS => self.compared.push((side_of(left, bound), side_of(right, bound))),
            operators::IN => match (&right.expr, side_of(left, bound), side_of(right, bound)) {
                (Expr::List(list), left, _) => {
                    self.compared.extend(list.elements.iter().map(|element| (left.clone(), side_of(element, bound))));
                }
                (_, Side::Text(name), Side::Path(mut path)) => {
                    path.push(name);
                    self.asked.push(path);
                }
                _ => {}
            },
            _ => {}
        }
    }
}

/// A part of an expression as a side of a comparison.
pub fn side_of(node: &IdedExpr, bound: &[&str]) -> Side {
    if let Expr::Literal(LiteralValue::String(text)) = &node.expr {
        return Side::Text(text.inner().to_owned());
    }
    match path_of(node) {
        Some(path) if bound.contains(&path[0].as_str()) || path[0].starts_with('@') => Side::Of(Shape::Any),
        Some(path) => Side::Path(path),
        None => Side::Of(shape_of(node)),
    }
}

/// What an expression gives, as far as its form says.
pub fn shape_of(node: &IdedExpr) -> Shape {
    match &node.expr {
        Expr::Literal(LiteralValue::String(_)) => Shape::Text(None),
        Expr::Literal(LiteralValue::Boolean(_)) => Shape::Boolean,
        Expr::Literal(LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_)) => Shape::Number,
        Expr::List(_) => Shape::List,
        Expr::Map(map) => {
            let fields = map.entries.iter().map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => match &entry.key.expr {
                    Expr::Literal(LiteralValue::String(name)) => Some((name.inner().to_owned(), shape_of(&entry.value))),
                    _ => None,
                },
                EntryExpr::StructField(_) => None,
            });
            fields.collect::<Option<Vec<_>>>().map_or(Shape::Any, |fields| Shape::closed(fields.into_iter()))
        }
        Expr::Call(call) => match call.func_name.as_str() {
            operators::EQUALS
            | operators::NOT_EQUALS
            | operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS
            | operators::LOGICAL_NOT
            | operators::IN
            | "contains"
            | "startsWith"
            | "endsWith"
            | "bool" => Shape::Boolean,
            "size" | "int" | "uint" | "double" => Shape::Number,
            "string" => Shape::Text(None),
            _ => Shape::Any,
        },
        _ => Shape::Any,
    }
}

/// `a.b["c"]` as its segments.
fn path_of(node: &IdedExpr) -> Option<Vec<String>> {
    match &node.expr {
        Expr::Ident(name) => Some(vec![name.clone()]),
        Expr::Select(select) => {
            let mut path = path_of(&select.operand)?;
            path.push(select.field.clone());
            Some(path)
        }
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [operand, IdedExpr { expr: Expr::Literal(LiteralValue::String(key)), .. }] => {
                let mut path = path_of(operand)?;
                path.push(key.inner().to_owned());
                Some(path)
            }
            _ => None,
        },
        _ => None,
    }
}
