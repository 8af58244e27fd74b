//! What a call is, in 32 bytes: caller, tool and arguments, whatever order a host sends the fields in.

use aws_lc_rs::digest::{Context, SHA256};
use serde_json::{Map, Value};

use crate::auth::{Caller, CallerKind};
use crate::io::hash::sha256;
use crate::io::hex::hex;

/// The digest of a call, as hexadecimal text.
pub(super) fn of_call(caller: &Caller, tool: &str, arguments: &Map<String, Value>) -> String {
    let mut context = Context::new(&SHA256);
    let kind = match caller.kind {
        CallerKind::User => "user",
        CallerKind::Service => "service",
        CallerKind::Owner => "owner",
    };
    for part in [caller.tenant.as_str(), &caller.subject, kind, tool] {
        feed(&mut context, part);
    }
    feed_object(&mut context, arguments);
    hex(context.finish().as_ref())
}

/// The digest of a person or service in its tenant, as hexadecimal text: a name for what belongs to it alone.
pub(super) fn of_caller(caller: &Caller) -> String {
    let mut context = Context::new(&SHA256);
    feed(&mut context, caller.tenant.as_str());
    feed(&mut context, &caller.subject);
    hex(context.finish().as_ref())
}

/// The digest of arguments alone, whatever order a host sends the fields in.
pub(super) fn of_arguments(arguments: &Map<String, Value>) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    feed_object(&mut context, arguments);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

/// The digest of a text.
pub(super) fn of_text(text: &str) -> [u8; 32] {
    sha256(text.as_bytes())
}

/// Lengths go in front, so that no two calls feed the same bytes.
fn feed(context: &mut Context, text: &str) {
    context.update(&(text.len() as u64).to_be_bytes());
    context.update(text.as_bytes());
}

fn feed_object(context: &mut Context, fields: &Map<String, Value>) {
    let mut names: Vec<&String> = fields.keys().collect();
    names.sort_unstable();
    context.update(b"{");
    context.update(&(names.len() as u64).to_be_bytes());
    for name in names {
        feed(context, name);
        feed_value(context, &fields[name]);
    }
}

fn feed_value(context: &mut Context, value: &Value) {
    match value {
        Value::Object(fields) => feed_object(context, fields),
        Value::Array(items) => {
            context.update(b"[");
            context.update(&(items.len() as u64).to_be_bytes());
            for item in items {
                feed_value(context, item);
            }
        }
        Value::String(text) => {
            context.update(b"s");
            feed(context, text);
        }
        other => feed(context, &other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::Credential;

    fn of(tool: &str, arguments: &Value) -> String {
        of_call(&Caller::owner(Credential::Verified), tool, arguments.as_object().unwrap())
    }

    #[test]
    fn the_order_of_fields_does_not_count_and_everything_else_does() {
        let one = of("t", &json!({ "a": 1, "b": { "c": [1, 2], "d": null } }));
        assert_eq!(one, of("t", &json!({ "b": { "d": null, "c": [1, 2] }, "a": 1 })));
        assert_eq!(one.len(), 64);
        for other in [json!({ "a": "1", "b": { "c": [1, 2], "d": null } }), json!({ "a": 1, "b": { "c": [2, 1], "d": null } })] {
            assert_ne!(one, of("t", &other));
        }
        assert_ne!(one, of("u", &json!({ "a": 1, "b": { "c": [1, 2], "d": null } })));
    }
}
