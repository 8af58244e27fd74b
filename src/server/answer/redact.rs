//! Secrets never pass through the model: their fields are taken out at any depth, under any spelling.

use serde_json::Value;

use crate::api::secret::{is_in_address, is_secret};

/// The field that says where a source is, whose texts may be addresses with a password in them.
const SOURCE: &str = "sourceConfig";

/// Takes secrets out and says under which names there were any.
pub(crate) fn redact(value: &mut Value) -> Vec<String> {
    let mut withheld = Vec::new();
    walk(value, &mut withheld);
    withheld
}

fn walk(value: &mut Value, withheld: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| {
                let secret = is_secret(name);
                if secret && !withheld.contains(name) {
                    withheld.push(name.clone());
                }
                !secret
            });
            for (name, value) in fields.iter_mut() {
                walk(value, withheld);
                if name == SOURCE {
                    take_addresses(value, withheld);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|value| walk(value, withheld)),
        _ => {}
    }
}

/// Takes out the texts that hold a password within an address.
fn take_addresses(value: &mut Value, withheld: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.retain(|name, value| {
            take_addresses(value, withheld);
            let secret = value.as_str().is_some_and(is_in_address);
            if secret && !withheld.contains(name) {
                withheld.push(name.clone());
            }
            !secret
        }),
        Value::Array(items) => items.iter_mut().for_each(|value| take_addresses(value, withheld)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_taken_out_at_any_depth_under_any_spelling() {
        let mut value = json!({
            "id": "sub-1", "signingSecret": "a", "PASSWORD": "b",
            "items": [{ "access_token": "c", "data": { "Refresh-Token": "d", "note": "password" } }],
            "credentials": { "user": "e" }, "secretary": "f",
        });
        let withheld = redact(&mut value);
        assert_eq!(value, json!({ "id": "sub-1", "items": [{ "data": { "note": "password" } }], "secretary": "f" }));
        assert_eq!(withheld, ["signingSecret", "PASSWORD", "credentials", "access_token", "Refresh-Token"]);
    }

    #[test]
    fn an_address_with_a_password_is_taken_out_of_a_source_alone() {
        let address = "postgres://ada:hunter2@db.example.com/sales";
        let mut value = json!({ "sourceConfig": { "url": address, "table": "orders" }, "note": address });
        assert_eq!(redact(&mut value), ["url"]);
        assert_eq!(value, json!({ "sourceConfig": { "table": "orders" }, "note": address }));
    }
}
