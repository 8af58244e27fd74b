//! An answer that is too large is cut by whole items, never through the middle of JSON, and says how to narrow it.

use serde_json::Value;

/// An answer within its limit.
pub(crate) struct Fitted {
    /// The answer, perhaps with less in it.
    pub(crate) value: Value,
    /// The same as compact JSON.
    pub(crate) text: String,
    /// What was left out and how to get it.
    pub(crate) note: Option<String>,
}

/// Cuts an answer to so many bytes of compact JSON.
pub(crate) fn fit(mut value: Value, limit: usize) -> Fitted {
    let text = value.to_string();
    if text.len() <= limit {
        return Fitted { value, text, note: None };
    }
    let note = cut_page(&mut value, text.len(), limit).unwrap_or_else(|| {
        let mut left_out = Vec::new();
        shrink(&mut value, limit, &mut String::new(), &mut left_out);
        format!("The answer is larger than {limit} bytes; left out: {}. Ask for less of it.", left_out.join(", "))
    });
    Fitted { text: value.to_string(), value, note: Some(note) }
}

/// Keeps as many whole items of a page as fit. The cursor goes, since it would skip what was cut.
fn cut_page(value: &mut Value, size: usize, limit: usize) -> Option<String> {
    let fields = value.as_object_mut()?;
    let items = fields.get_mut("items")?.as_array_mut()?;
    let all = items.len();
    let sizes: Vec<usize> = items.iter().map(|item| size_of(item) + 1).collect();
    let mut room = limit.checked_sub(size.checked_sub(sizes.iter().sum())?)?;
    let kept = sizes
        .iter()
        .take_while(|size| match room.checked_sub(**size) {
            Some(rest) => {
                room = rest;
                true
            }
            None => false,
        })
        .count();
    if kept == 0 {
        return None;
    }
    items.truncate(kept);
    fields.shift_remove("nextCursor");
    Some(format!(
        "These are the first {kept} of {all} items, since an answer holds {limit} bytes. For the rest, call again with limit {kept} and go on with nextCursor, or narrow by the tool's other arguments."
    ))
}

/// Makes one value small enough by leaving out whole items of what is largest in it.
fn shrink(value: &mut Value, limit: usize, path: &mut String, left_out: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            let all = text.len();
            // Escapes can double a text; a quarter of the room is always enough to be told what it is.
            let mut end = (limit / 4).min(all);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            text.push('…');
            left_out.push(format!("{path} ({end} of {all} bytes kept)"));
        }
        Value::Array(items) => {
            let all = items.len();
            let mut room = limit.saturating_sub(2);
            let kept = items
                .iter()
                .map(|item| size_of(item) + 1)
                .take_while(|size| match room.checked_sub(*size) {
                    Some(rest) => {
                        room = rest;
                        true
                    }
                    None => false,
                })
                .count();
            items.truncate(kept.max(1));
            if kept == 0
                && let Some(first) = items.first_mut()
            {
                let length = path.len();
                path.push_str("/0");
                shrink(first, limit.saturating_sub(2), path, left_out);
                path.truncate(length);
            }
            if items.len() < all {
                left_out.push(format!("{path} ({} of {all} items kept)", items.len()));
            }
        }
        Value::Object(fields) => {
            // The largest field gives way first; each round at least halves it, so this ends.
            loop {
                let mut size = 2;
                let mut largest: (usize, Option<String>) = (0, None);
                for (name, value) in fields.iter() {
                    let own = size_of(value);
                    size += own + name.len() + 4;
                    if own > largest.0 {
                        largest = (own, Some(name.clone()));
                    }
                }
                if size <= limit {
                    return;
                }
                let (own, Some(name)) = largest else { return };
                let target = own.saturating_sub(size - limit).max(own / 2);
                let length = path.len();
                path.push('/');
                path.extend(name.chars().take(80));
                let gone = own <= 64 || {
                    let Some(value) = fields.get_mut(&name) else { return };
                    shrink(value, target, path, left_out);
                    size_of(value) >= own
                };
                if gone {
                    fields.shift_remove(&name);
                    left_out.push(path.clone());
                }
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// The bytes of a value as compact JSON, without writing it down.
fn size_of(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, value) {
        Ok(()) => count.0,
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_fits_is_left_alone() {
        let fitted = fit(json!({ "items": [1, 2], "nextCursor": "c" }), 100);
        assert_eq!(fitted.text, r#"{"items":[1,2],"nextCursor":"c"}"#);
        assert!(fitted.note.is_none());
    }

    #[test]
    fn a_page_loses_whole_items_and_its_cursor() {
        let items: Vec<Value> = (0..100).map(|n| json!({ "id": format!("task-{n:03}") })).collect();
        let fitted = fit(json!({ "items": items, "nextCursor": "c" }), 500);
        assert!(fitted.text.len() <= 500);
        let kept = fitted.value["items"].as_array().unwrap();
        assert!(kept.len() > 20 && kept.iter().all(|item| item["id"].is_string()));
        assert!(fitted.value.get("nextCursor").is_none());
        assert!(fitted.note.unwrap().contains(&format!("limit {}", kept.len())));
    }

    #[test]
    fn one_huge_object_loses_what_is_largest_in_it() {
        let nodes: Vec<Value> = (0..500).map(|n| json!({ "id": format!("node-{n}"), "label": "x".repeat(40) })).collect();
        let fitted = fit(json!({ "id": "proc-1", "name": "n", "nodes": nodes, "text": "é\"".repeat(9000) }), 4096);
        assert!(fitted.text.len() <= 4096, "{}", fitted.text.len());
        assert_eq!(fitted.value["id"], "proc-1");
        assert!(fitted.note.unwrap().contains("/nodes"));
    }

    #[test]
    fn one_huge_item_is_cut_inside() {
        let fitted = fit(json!({ "items": [{ "id": "a", "data": { "blob": "y".repeat(10_000) } }, { "id": "b" }] }), 1000);
        assert!(fitted.text.len() <= 1000, "{}", fitted.text.len());
        assert_eq!(fitted.value["items"][0]["id"], "a");
    }

    #[test]
    fn many_middling_fields_give_way_too() {
        let fields: serde_json::Map<String, Value> = (0..400).map(|n| (format!("f{n}"), json!("z".repeat(60)))).collect();
        let fitted = fit(Value::Object(fields), 2000);
        assert!(fitted.text.len() <= 2000, "{}", fitted.text.len());
    }
}
