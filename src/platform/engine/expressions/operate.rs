//! The operators of expressions. Whole numbers and fractions mix; what has no meaning is a fault that names the types.

use std::cmp::Ordering;
use std::rc::Rc;

use cel::common::ast::operators;

use super::budget::Meter;
use super::fault::Fault;
use super::values::{ELEMENT, Evaluated, Fields, Key, List, Value, WHOLE};

/// Computes an operator's result of its operands.
type Operator = for<'a, 'b, 'm> fn(&'b [Value<'a>], &'b mut Meter<'m>) -> Evaluated<'a>;

/// The operator of a name such as `_+_`.
pub fn operator(name: &str) -> Option<Operator> {
    Some(match name {
        operators::ADD => |operands, meter| binary("+", operands, |a, b| add(a, b, meter)),
        operators::SUBSTRACT => |operands, _| binary("-", operands, subtract),
        operators::MULTIPLY => |operands, _| binary("*", operands, |a, b| arithmetic(a, b, i128::checked_mul, |a, b| a * b)),
        operators::DIVIDE => |operands, _| binary("/", operands, divide),
        operators::MODULO => |operands, _| binary("%", operands, modulo),
        operators::EQUALS => |operands, meter| binary("==", operands, |a, b| Some(a.equals(b, meter).map(Value::Bool))),
        operators::NOT_EQUALS => |operands, meter| binary("!=", operands, |a, b| Some(a.equals(b, meter).map(|equal| Value::Bool(!equal)))),
        operators::LESS => |operands, meter| compare("<", operands, meter, Ordering::is_lt),
        operators::LESS_EQUALS => |operands, meter| compare("<=", operands, meter, Ordering::is_le),
        operators::GREATER => |operands, meter| compare(">", operands, meter, Ordering::is_gt),
        operators::GREATER_EQUALS => |operands, meter| compare(">=", operands, meter, Ordering::is_ge),
        operators::IN => |operands, meter| binary("in", operands, |a, b| contained(a, b, meter)),
        operators::INDEX => |operands, meter| binary("[]", operands, |all, place| index(all, place, meter)),
        operators::LOGICAL_NOT => |operands, _| {
            unary("!", operands, |value| match value {
                Value::Bool(flag) => Some(Ok(Value::Bool(!flag))),
                _ => None,
            })
        },
        operators::NEGATE => |operands, _| {
            unary("-", operands, |value| match value {
                Value::Whole(whole) => Some(in_range(whole.checked_neg())),
                Value::Fraction(number) => Some(Ok(Value::Fraction(-number))),
                Value::Duration(duration) => Some(Ok(Value::Duration(-*duration))),
                _ => None,
            })
        },
        _ => return None,
    })
}

fn unary<'a>(sign: &str, operands: &[Value<'a>], work: impl FnOnce(&Value<'a>) -> Option<Evaluated<'a>>) -> Evaluated<'a> {
    let [operand] = operands else { return Err(Fault::new("EXPRESSION_FAILED", format!("`{sign}` has one operand"))) };
    work(operand).unwrap_or_else(|| Err(Fault::new("EXPRESSION_TYPE", format!("`{sign}` is not defined for a {}", operand.type_name()))))
}

fn binary<'a>(sign: &str, operands: &[Value<'a>], work: impl FnOnce(&Value<'a>, &Value<'a>) -> Option<Evaluated<'a>>) -> Evaluated<'a> {
    let [left, right] = operands else { return Err(Fault::new("EXPRESSION_FAILED", format!("`{sign}` has two operands"))) };
    work(left, right).unwrap_or_else(|| {
        Err(Fault::new(
            "EXPRESSION_TYPE",
            format!(
                "`{sign}` is not defined for a {} and a {}. Convert with int(), double(), string() or timestamp()",
                left.type_name(),
                right.type_name()
            ),
        ))
    })
}

fn compare<'a>(sign: &str, operands: &[Value<'a>], meter: &mut Meter<'_>, holds: fn(Ordering) -> bool) -> Evaluated<'a> {
    binary(sign, operands, |left, right| {
        let comparable = left.type_name() == right.type_name() || (is_number(left) && is_number(right));
        let ordered = !matches!(left, Value::Null | Value::List(_) | Value::Map(_) | Value::Type(_));
        // A number that is none (0.0 / 0.0) is neither less nor greater.
        (comparable && ordered).then(|| Ok(Value::Bool(left.order(right, meter)?.is_some_and(holds))))
    })
}

fn is_number(value: &Value<'_>) -> bool {
    matches!(value, Value::Whole(_) | Value::Fraction(_))
}

/// A number as a double, which is what whole numbers become beside fractions.
#[expect(clippy::cast_precision_loss, reason = "a fraction is as exact as doubles are")]
pub fn double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Whole(whole) => Some(*whole as f64),
        Value::Fraction(number) => Some(*number),
        _ => None,
    }
}

/// A whole number, if JSON can hold it.
pub fn in_range<'a>(whole: Option<i128>) -> Evaluated<'a> {
    whole
        .filter(|whole| WHOLE.contains(whole))
        .map(Value::Whole)
        .ok_or_else(|| Fault::new("EXPRESSION_FAILED", "a whole number has at most 64 bits; the result would be beyond that"))
}

fn arithmetic<'a>(
    left: &Value<'a>,
    right: &Value<'a>,
    whole: fn(i128, i128) -> Option<i128>,
    fraction: fn(f64, f64) -> f64,
) -> Option<Evaluated<'a>> {
    match (left, right) {
        (Value::Whole(left), Value::Whole(right)) => Some(in_range(whole(*left, *right))),
        _ => Some(Ok(Value::Fraction(fraction(double(left)?, double(right)?)))),
    }
}

fn add<'a>(left: &Value<'a>, right: &Value<'a>, meter: &mut Meter<'_>) -> Option<Evaluated<'a>> {
    Some(match (left, right) {
        (Value::Text(a), Value::Text(b)) => join(meter, a.len() + b.len()).map(|()| Value::text([a.as_str(), b.as_str()].concat())),
        (Value::Bytes(a), Value::Bytes(b)) => join(meter, a.len() + b.len()).map(|()| Value::Bytes([&**a, &**b].concat().into())),
        (Value::List(a), Value::List(b)) => join(meter, (a.len() + b.len()).saturating_mul(ELEMENT))
            .map(|()| Value::List(List::Made(Rc::new(a.iter().chain(b.iter()).collect())))),
        (Value::Time(time), Value::Duration(duration)) | (Value::Duration(duration), Value::Time(time)) => {
            time.checked_add_signed(*duration).map(Value::Time).ok_or_else(out_of_time)
        }
        (Value::Duration(a), Value::Duration(b)) => a.checked_add(b).map(Value::Duration).ok_or_else(out_of_time),
        _ => return arithmetic(left, right, i128::checked_add, |a, b| a + b),
    })
}

fn join(meter: &mut Meter<'_>, bytes: usize) -> Result<(), Fault> {
    meter.text(bytes)?;
    meter.bytes(bytes)
}

fn subtract<'a>(left: &Value<'a>, right: &Value<'a>) -> Option<Evaluated<'a>> {
    Some(match (left, right) {
        (Value::Time(time), Value::Duration(duration)) => time.checked_sub_signed(*duration).map(Value::Time).ok_or_else(out_of_time),
        (Value::Time(a), Value::Time(b)) => Ok(Value::Duration(a.signed_duration_since(b))),
        (Value::Duration(a), Value::Duration(b)) => a.checked_sub(b).map(Value::Duration).ok_or_else(out_of_time),
        _ => return arithmetic(left, right, i128::checked_sub, |a, b| a - b),
    })
}

fn out_of_time() -> Fault {
    Fault::new("EXPRESSION_FAILED", "the result is a time beyond what can be written")
}

/// Whole numbers divide to a whole number, as CEL has it; a fraction on either side makes it a fraction.
fn divide<'a>(left: &Value<'a>, right: &Value<'a>) -> Option<Evaluated<'a>> {
    if matches!((left, right), (Value::Whole(_), Value::Whole(0))) {
        return Some(Err(Fault::new("EXPRESSION_FAILED", "it divides by 0")));
    }
    arithmetic(left, right, i128::checked_div, |a, b| a / b)
}

fn modulo<'a>(left: &Value<'a>, right: &Value<'a>) -> Option<Evaluated<'a>> {
    match (left, right) {
        (Value::Whole(_), Value::Whole(0)) => Some(Err(Fault::new("EXPRESSION_FAILED", "it divides by 0"))),
        (Value::Whole(left), Value::Whole(right)) => Some(in_range(left.checked_rem(*right))),
        _ => None,
    }
}

fn contained<'a>(wanted: &Value<'a>, all: &Value<'a>, meter: &mut Meter<'_>) -> Option<Evaluated<'a>> {
    Some(match all {
        Value::List(list) => {
            list.iter().try_fold(false, |found, item| if found { Ok(true) } else { item.equals(wanted, meter) }).map(Value::Bool)
        }
        Value::Map(fields) => match Key::of(wanted) {
            Some(key) => fields.get(&key, meter).map(|found| Value::Bool(found.is_some())),
            None => Ok(Value::Bool(false)),
        },
        _ => return None,
    })
}

fn index<'a>(all: &Value<'a>, place: &Value<'a>, meter: &mut Meter<'_>) -> Option<Evaluated<'a>> {
    Some(match (all, Key::of(place)) {
        (Value::List(list), Some(Key::Whole(wanted))) => usize::try_from(wanted).ok().and_then(|place| list.get(place)).ok_or_else(|| {
            Fault::new("EXPRESSION_MISSING", format!("there is no element {wanted} in a list of {}; the first is 0", list.len()))
        }),
        (Value::Map(fields), Some(key)) => found(fields, &key, meter),
        _ => return None,
    })
}

fn found<'a>(fields: &Fields<'a>, key: &Key<'a>, meter: &mut Meter<'_>) -> Evaluated<'a> {
    fields.get(key, meter)?.ok_or_else(|| Fault::new("EXPRESSION_MISSING", format!("there is no `{key}`")))
}
