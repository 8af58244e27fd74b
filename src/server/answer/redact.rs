//! Secrets never pass through the model: their fields are taken out at any depth, under any spelling.

use serde_json::Value;

use crate::api::secret::is_secret;

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
            fields.values_mut().for_each(|value| walk(value, withheld));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| walk(value, withheld)),
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
}
