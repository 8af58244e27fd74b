//! What an expression is made of: the paths that it reads and the functions that it calls.

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, operators};

/// What an expression is made of.
#[derive(Default)]
pub struct Found {
    /// How deep comprehensions stand within one another.
    pub loops: usize,
    pub functions: Vec<String>,
    pub paths: Vec<Vec<String>>,
}

impl Found {
    /// Reads an expression and what is below it.
    pub fn read<'e>(&mut self, node: &'e IdedExpr, bound: &mut Vec<&'e str>) {
        if let Some(path) = path_of(node) {
            if !path[0].starts_with('@') && !bound.contains(&path[0].as_str()) {
                self.paths.push(path);
            }
            return;
        }
        match &node.expr {
            Expr::Call(call) => {
                self.functions.push(call.func_name.clone());
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
