//! An answer that is too large is cut by whole values, never through the middle of JSON, and says so within itself.

use serde_json::{Map, Value, json};

/// The field of an answer that says what is left out of it.
pub(crate) const FIELD: &str = "truncated";
/// The field of the object that takes the place of a text or a list.
const MARK: &str = "$truncated";
/// Places named at most.
const MAX_NAMED: usize = 20;
/// Longest place that is named, in characters.
const MAX_PLACE: usize = 160;
/// Characters of a long text, or bytes of the first items of a list, that are shown in its stead.
const SHOWN: usize = 200;

/// Returns how many items of a page fit into so many bytes, at least one; nothing if all of it fits or it is not a page.
pub(crate) fn items_that_fit(value: &Value, limit: usize) -> Option<usize> {
    let items = value.get("items")?.as_array()?;
    if room_after(value, limit).is_some() {
        return None;
    }
    let size = size_of(value);
    if size <= limit {
        return None;
    }
    let sizes: Vec<usize> = items.iter().map(|item| size_of(item) + 1).collect();
    let around = size.saturating_sub(sizes.iter().sum());
    Some(fitting(&sizes, limit.saturating_sub(around)).max(1))
}

/// Cuts an answer to so many bytes of compact JSON, and notes in it what was cut and what was withheld before.
///
/// A place that the schema types keeps its type: its items or fields become fewer. Elsewhere, a marked object takes the
/// place of a text or a list, so that no shorter value is mistaken for the stored one.
pub(crate) fn fit(value: &mut Value, schema: &Map<String, Value>, limit: usize, withheld: Vec<String>) {
    let mut cut = Cut::default();
    let mut next = "";
    if room_after(value, limit).is_none() && size_of(value) > limit {
        // Its items do not follow one another any more, so the cursor would skip some.
        let items = value.get("items").and_then(Value::as_array).map(Vec::len);
        cut.shrink(value, Some(schema), limit.saturating_sub(limit / 8), &mut String::new());
        if let (Some(before), Some(fields)) = (items, value.as_object_mut())
            && fields.get("items").and_then(Value::as_array).map(Vec::len) != Some(before)
        {
            fields.shift_remove("nextCursor");
        }
        next = "Ask for less at once: a smaller limit, or a narrower filter.";
    }
    if cut.places.is_empty() && withheld.is_empty() {
        return;
    }
    let mut note = Map::new();
    if !cut.places.is_empty() {
        let more = cut.count - cut.places.len();
        note.insert("leftOut".to_owned(), cut.names().into());
        if more > 0 {
            note.insert("more".to_owned(), more.into());
        }
        note.insert("next".to_owned(), next.into());
    }
    if !withheld.is_empty() {
        note.insert("withheld".to_owned(), withheld.into());
    }
    if let Some(fields) = value.as_object_mut() {
        fields.insert(FIELD.to_owned(), Value::Object(note));
    }
}

/// What was left out.
#[derive(Default)]
struct Cut {
    places: Vec<Place>,
    count: usize,
}

/// A place, and how much of it is kept.
struct Place {
    path: String,
    kept: Option<(usize, usize, &'static str)>,
}

impl Cut {
    /// Notes a place once, however often it is cut.
    fn note(&mut self, path: &str, kept: Option<(usize, usize, &'static str)>) {
        let path: String = path.chars().take(MAX_PLACE).collect();
        match self.places.iter_mut().find(|place| place.path == path) {
            Some(Place { kept: Some(before), .. }) if let Some(now) = kept => before.0 = now.0,
            Some(place) => place.kept = kept,
            None => {
                self.count += 1;
                if self.places.len() < MAX_NAMED {
                    self.places.push(Place { path, kept });
                }
            }
        }
    }

    fn names(&self) -> Vec<String> {
        let name = |place: &Place| match place.kept {
            Some((kept, all, unit)) => format!("{} ({kept} of {all} {unit} kept)", place.path),
            None => place.path.clone(),
        };
        self.places.iter().map(name).collect()
    }

    /// Makes one value small enough by leaving out what is largest in it.
    fn shrink(&mut self, value: &mut Value, schema: Option<&Map<String, Value>>, limit: usize, path: &mut String) {
        match value {
            Value::Array(items) => {
                let all = items.len();
                let sizes: Vec<usize> = items.iter().map(|item| size_of(item) + 1).collect();
                let item = schema.map(|schema| schema.get("items").and_then(Value::as_object));
                if let Some(item) = item {
                    // A list of the contract: fewer items of it, or one that is cut inside.
                    let kept = fitting(&sizes, limit.saturating_sub(2));
                    // A text of the contract stays a text, so one that does not fit goes.
                    let cuts_first = kept == 0 && !items.first().is_some_and(Value::is_string);
                    items.truncate(kept.max(usize::from(cuts_first)));
                    if cuts_first && let Some(first) = items.first_mut() {
                        self.below(first, item, limit.saturating_sub(2), "0", path);
                    }
                    if items.len() < all {
                        self.note(path, Some((items.len(), all, "items")));
                    }
                } else {
                    let kept = fitting(&sizes, SHOWN);
                    items.truncate(kept);
                    *value = json!({ MARK: { "items": all, "first": std::mem::take(items) } });
                    self.note(path, Some((kept, all, "items")));
                }
            }
            Value::Object(fields) => self.shrink_fields(fields, schema, limit, path),
            Value::String(text) => {
                let shown: String = text.chars().take(SHOWN).collect();
                self.note(path, Some((shown.len(), text.len(), "bytes")));
                *value = json!({ MARK: { "bytes": text.len(), "start": shown } });
            }
            _ => {}
        }
    }

    /// The largest field gives way first; each round makes it smaller or removes it, so this ends.
    fn shrink_fields(&mut self, fields: &mut Map<String, Value>, schema: Option<&Map<String, Value>>, limit: usize, path: &mut String) {
        let properties = schema.and_then(|schema| schema.get("properties")).and_then(Value::as_object);
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
            let (own, Some(name)) = largest else { return };
            if size <= limit {
                return;
            }
            let Some(value) = fields.get_mut(&name) else { return };
            let typed = properties.map(|properties| properties.get(&name).and_then(Value::as_object));
            let target = own.saturating_sub(size - limit).max(own / 2);
            let goes = match (&*value, typed) {
                // What is marked already says all that it can.
                _ if own <= 64 || value.get(MARK).is_some() => true,
                // A marked object is not the text that the schema names.
                (Value::String(_), Some(Some(_))) => true,
                (_, typed) => {
                    self.below(
                        value,
                        typed.flatten().filter(|schema| schema.contains_key("properties") || schema.contains_key("items")),
                        target,
                        &name,
                        path,
                    );
                    size_of(value) >= own
                }
            };
            if goes {
                fields.shift_remove(&name);
                self.note(&format!("{path}/{}", name.chars().take(80).collect::<String>()), None);
            }
        }
    }

    fn below(&mut self, value: &mut Value, schema: Option<&Map<String, Value>>, limit: usize, step: &str, path: &mut String) {
        let length = path.len();
        path.push('/');
        path.extend(step.chars().take(80));
        self.shrink(value, schema, limit, path);
        path.truncate(length);
    }
}

/// How many of these sizes fit, from the first.
fn fitting(sizes: &[usize], mut room: usize) -> usize {
    sizes
        .iter()
        .take_while(|size| match room.checked_sub(**size) {
            Some(rest) => {
                room = rest;
                true
            }
            None => false,
        })
        .count()
}

/// The bytes that are left of so many after a value, at least, if it surely fits: most answers are far smaller than they may
/// be, and need not be written to know it. JSON takes six bytes at most for one of a text.
fn room_after(value: &Value, room: usize) -> Option<usize> {
    match value {
        Value::Null | Value::Bool(_) => room.checked_sub(5),
        Value::Number(_) => room.checked_sub(32),
        Value::String(text) => room.checked_sub(6 * text.len() + 2),
        Value::Array(items) => items.iter().try_fold(room.checked_sub(2)?, |room, item| room_after(item, room.checked_sub(1)?)),
        Value::Object(fields) => {
            fields.iter().try_fold(room.checked_sub(2)?, |room, (name, value)| room_after(value, room.checked_sub(6 * name.len() + 4)?))
        }
    }
}

/// The bytes of a value as compact JSON, without writing it down.
pub(crate) fn size_of(value: &Value) -> usize {
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
    use super::*;
    use crate::api::catalogue;

    fn fitted(tool: &str, value: &Value, limit: usize) -> Value {
        let entry = catalogue().get(tool).unwrap();
        let mut value = value.clone();
        fit(&mut value, &entry.shape.output, limit, Vec::new());
        assert_eq!(entry.mismatch(&value).map(|fault| fault.pointer), None, "{tool}");
        assert!(size_of(&value) <= limit + 4096, "{tool}: {}", size_of(&value));
        value
    }

    #[test]
    fn what_surely_fits_is_no_larger_than_it_seems() {
        let odd = json!({ "\u{1}\"": ["\u{1f}\u{7f}ä", -1.234_567_890_123_456_7e-300, u64::MAX, i64::MIN, null, true, [], {}], "": [[{ "a": false }]] });
        for value in [odd, json!(null), json!([null, null]), json!(""), json!(f64::MIN_POSITIVE)] {
            let size = size_of(&value);
            assert!((0..size).all(|room| room_after(&value, room).is_none()), "{value}");
            assert!(room_after(&value, 6 * size + 200).is_some(), "{value}");
        }
    }

    #[test]
    fn an_answer_within_its_limit_stays_as_it_is() {
        let value = json!({ "items": [{ "taskId": "a" }], "nextCursor": "c" });
        assert_eq!(fitted("tasks_list", &value, 100), value);
        assert_eq!(items_that_fit(&value, 100), None);
    }

    #[test]
    fn a_page_says_how_many_of_its_items_fit() {
        let items: Vec<Value> = (0..100).map(|n| json!({ "taskId": format!("task-{n:03}") })).collect();
        let page = json!({ "items": items, "nextCursor": "c" });
        let fit = items_that_fit(&page, 500).unwrap();
        assert!((15..25).contains(&fit), "{fit}");
        assert_eq!(items_that_fit(&page, 32), Some(1));
        // A platform that knows no limit answers all of them again: the cursor would skip those that are cut.
        let value = fitted("tasks_list", &page, 500);
        assert!(value.get("nextCursor").is_none());
        let kept = value["items"].as_array().unwrap().len();
        assert_eq!(value[FIELD]["leftOut"], json!([format!("/items ({kept} of 100 items kept)")]));
    }

    #[test]
    fn a_large_object_loses_what_is_largest_in_it() {
        let nodes: Vec<Value> = (0..500).map(|n| json!({ "id": format!("node-{n}"), "type": "start" })).collect();
        let metadata = json!({ "text": "é\"".repeat(9000), "list": vec!["a".repeat(50); 900], "n": 5 });
        let value =
            fitted("processes_create", &json!({ "id": "proc-1", "name": "n".repeat(9000), "nodes": nodes, "metadata": metadata }), 4096);
        assert_eq!((&value["id"], value.get("name")), (&json!("proc-1"), None));
        assert_eq!(value["nodes"]["$truncated"]["items"], 500, "the schema does not name the nodes");
        let left_out = value[FIELD]["leftOut"].to_string();
        assert!(left_out.contains("/nodes (") && left_out.contains("/name") && left_out.contains("/metadata"), "{left_out}");
    }

    #[test]
    fn a_free_form_text_or_list_is_marked_never_shortened() {
        let record = json!({ "id": "entity-1", "data": { "blob": "y".repeat(10_000), "many": vec![1; 5000], "n": 5 } });
        let value = fitted("entities_get", &record, 2000);
        assert_eq!(value["data"]["blob"]["$truncated"]["bytes"], 10_000);
        assert_eq!(value["data"]["many"]["$truncated"]["items"], 5000);
        assert_eq!(value["data"]["n"], 5);
    }

    #[test]
    fn a_list_of_texts_stays_one() {
        let schema = json!({ "type": "object", "properties": { "tags": { "type": "array", "items": { "type": "string" } } } });
        let mut value = json!({ "tags": ["x".repeat(5000)] });
        fit(&mut value, schema.as_object().unwrap(), 1000, Vec::new());
        assert_eq!((&value["tags"], &value[FIELD]["leftOut"]), (&json!([]), &json!(["/tags (0 of 1 items kept)"])));
    }

    #[test]
    fn the_note_is_bounded_and_names_what_was_withheld() {
        let fields: Map<String, Value> = (0..4000).map(|n| (format!("f{n}-{}", "z".repeat(200)), json!("z".repeat(60)))).collect();
        let value = fitted("entities_get", &json!({ "id": "e", "data": fields }), 32);
        assert!(value[FIELD]["more"].as_u64().is_some_and(|more| more > 3000) || value.get("data").is_none(), "{value}");
        let mut value = json!({ "taskId": "t" });
        fit(&mut value, &Map::new(), 1000, vec!["token".to_owned()]);
        assert_eq!(value, json!({ "taskId": "t", "truncated": { "withheld": ["token"] } }));
    }
}
