//! Ids that a caller has met in answers, offered when it has to name one again.
//!
//! Kept by tenant and subject, in memory alone: no caller sees the ids of another.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use moka::Equivalent;
use moka::sync::Cache;
use serde_json::Value;

use crate::api::ids::TenantId;
use crate::api::service::Id;
use crate::api::{Entry, SERVICES};
use crate::auth::Caller;

/// How many ids of a caller are offered, the latest ones.
const MAX_IDS_PER_CALLER: usize = 200;
/// How many more may be there before the oldest are dropped, all at once.
const MAX_SURPLUS: usize = 50;
/// How many callers are remembered.
const MAX_CALLERS: u64 = 10_000;
/// How long, after they last called.
const MAX_IDLE: Duration = Duration::from_hours(12);
/// Longest id that is kept, in bytes.
const MAX_ID_LENGTH: usize = 256;
/// How many objects of one answer are looked at.
const MAX_OBJECTS_READ: usize = 1000;

/// What an id names: a kind, and which of it where that is said beside the id, such as the type of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct IdKind<'a> {
    pub(super) kind: &'static str,
    pub(super) of: &'a str,
}

/// The ids that callers have met.
#[derive(Debug)]
pub(super) struct KnownIds {
    callers: Cache<Key, Arc<Mutex<Met>>>,
    hasher: RandomState,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    tenant: TenantId,
    subject: String,
}

/// A caller whose ids are looked for; it hashes as its key does.
#[derive(Hash)]
struct KeyRef<'a> {
    tenant: &'a TenantId,
    subject: &'a String,
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.tenant == key.tenant && *self.subject == key.subject
    }
}

/// What a caller has met, by the hash of what it is, so that one more costs the same however many there are.
#[derive(Debug, Default)]
struct Met {
    ids: HashMap<u64, KnownId>,
    /// How often one was met so far.
    times: u64,
}

/// An id that was met. A record's type is part of what it names.
#[derive(Debug)]
struct KnownId {
    kind: &'static str,
    of: Box<str>,
    id: Box<str>,
    /// The how-manieth it was when it was met last.
    last: u64,
}

impl KnownId {
    fn is(&self, IdKind { kind, of }: IdKind<'_>) -> bool {
        self.kind == kind && *self.of == *of
    }
}

impl Met {
    fn meet(&mut self, hash: u64, what: IdKind<'_>, id: &str) {
        self.times += 1;
        let met = || KnownId { kind: what.kind, of: what.of.into(), id: id.into(), last: self.times };
        match self.ids.entry(hash) {
            Place::Occupied(mut known) if known.get().is(what) && *known.get().id == *id => known.get_mut().last = self.times,
            // Of two with the same hash the later one is kept.
            Place::Occupied(mut other) => drop(other.insert(met())),
            Place::Vacant(free) => drop(free.insert(met())),
        }
    }

    /// Drops the oldest, where there are too many.
    fn bound(&mut self) {
        let surplus = self.ids.len().saturating_sub(MAX_IDS_PER_CALLER);
        if surplus > MAX_SURPLUS {
            let mut times: Vec<u64> = self.ids.values().map(|known| known.last).collect();
            let (_, &mut oldest, _) = times.select_nth_unstable(surplus);
            self.ids.retain(|_, known| known.last >= oldest);
            self.ids.shrink_to(MAX_IDS_PER_CALLER + MAX_SURPLUS);
        }
    }

    /// Those that are offered, the latest first.
    fn latest(&self) -> impl Iterator<Item = &KnownId> {
        let mut known: Vec<&KnownId> = self.ids.values().collect();
        known.sort_unstable_by_key(|known| Reverse(known.last));
        known.into_iter().take(MAX_IDS_PER_CALLER)
    }
}

impl Default for KnownIds {
    fn default() -> Self {
        Self { callers: Cache::builder().max_capacity(MAX_CALLERS).time_to_idle(MAX_IDLE).build(), hasher: RandomState::new() }
    }
}

impl KnownIds {
    /// Keeps the ids in an answer that a caller was given.
    pub(super) fn keep(&self, caller: &Caller, entry: &Entry, answer: &Value) {
        let (mut found, mut left) = (Vec::new(), MAX_OBJECTS_READ);
        walk(answer, 0, entry.service.name, &mut left, &mut found);
        if found.is_empty() {
            return;
        }
        let met = self
            .callers
            .get(&look(caller))
            .unwrap_or_else(|| self.callers.get_with(Key { tenant: caller.tenant.clone(), subject: caller.subject.clone() }, Arc::default));
        let found: Vec<_> = found.into_iter().map(|(what, id)| (self.hasher.hash_one((what, id)), what, id)).collect();
        let mut met = met.lock().unwrap_or_else(PoisonError::into_inner);
        // What stands first in an answer is to be offered first.
        for (hash, what, id) in found.into_iter().rev() {
            met.meet(hash, what, id);
        }
        met.bound();
    }

    /// Whether a caller has met such an id.
    pub(super) fn has_met(&self, caller: &Caller, what: IdKind<'_>, id: &str) -> bool {
        let Some(met) = self.callers.get(&look(caller)) else { return false };
        let met = met.lock().unwrap_or_else(PoisonError::into_inner);
        met.ids.get(&self.hasher.hash_one((what, id))).is_some_and(|known| known.is(what) && *known.id == *id)
    }

    /// The ids of such things that a caller has met, the latest first.
    pub(super) fn met(&self, caller: &Caller, what: IdKind<'_>) -> Vec<String> {
        let Some(met) = self.callers.get(&look(caller)) else { return Vec::new() };
        let met = met.lock().unwrap_or_else(PoisonError::into_inner);
        met.latest().filter(|known| known.is(what)).map(|known| known.id.to_string()).collect()
    }
}

const fn look(caller: &Caller) -> KeyRef<'_> {
    KeyRef { tenant: &caller.tenant, subject: &caller.subject }
}

/// The ids of all services by the field they stand in, each with its service.
fn ids_in(field: &str) -> &'static [(&'static str, &'static Id)] {
    static BY_FIELD: LazyLock<HashMap<&'static str, Vec<(&'static str, &'static Id)>>> = LazyLock::new(|| {
        let mut by_field: HashMap<_, Vec<_>> = HashMap::new();
        for (service, id) in SERVICES.iter().flat_map(|service| service.ids.iter().map(move |id| (service.name, id))) {
            by_field.entry(id.field).or_default().push((service, id));
        }
        by_field
    });
    BY_FIELD.get(field).map_or(&[], Vec::as_slice)
}

/// Finds the ids of an answer by the contract's names, in the object itself and in the items of a list. The fields of a
/// record and of variables are not looked at: those are words of people, not ids of the platform.
fn walk<'a>(value: &'a Value, depth: usize, service: &str, left: &mut usize, found: &mut Vec<(IdKind<'a>, &'a str)>) {
    match value {
        Value::Object(fields) if *left > 0 => {
            *left -= 1;
            let usable = |value: &'a Value| value.as_str().filter(|id| !id.is_empty() && id.len() <= MAX_ID_LENGTH);
            for (name, value) in fields {
                let ids = ids_in(name).iter().filter(|(of, id)| !id.own || *of == service);
                found.extend(ids.filter_map(|(_, id)| {
                    let of = match id.beside {
                        Some(beside) => fields.get(beside).and_then(usable)?,
                        None => "",
                    };
                    Some((IdKind { kind: id.kind, of }, usable(value)?))
                }));
            }
            if depth == 0 {
                for items in ["items", "result"].into_iter().filter_map(|name| fields.get(name)) {
                    walk(items, 1, service, left, found);
                }
            }
        }
        Value::Array(items) if depth <= 1 => items.iter().for_each(|item| walk(item, 2, service, left, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::catalogue;
    use crate::auth::Credential;

    fn plain(kind: &'static str) -> IdKind<'static> {
        IdKind { kind, of: "" }
    }

    fn of(tenant: &str, subject: &str) -> Caller {
        Caller { tenant: tenant.into(), subject: subject.to_owned(), ..Caller::owner(Credential::Verified) }
    }

    fn keep(seen: &KnownIds, caller: &Caller, tool: &str, answer: &Value) {
        seen.keep(caller, catalogue().get(tool).unwrap(), answer);
    }

    #[test]
    fn ids_are_found_in_objects_and_lists_and_nowhere_else() {
        let (seen, caller) = (KnownIds::default(), of("t", "a"));
        keep(
            &seen,
            &caller,
            "tasks_list",
            &json!({ "items": [
            { "taskId": "task-1", "executionId": "exec-1", "status": "created" },
            { "taskId": "task-2", "form": { "taskId": "task-x" } },
        ] }),
        );
        keep(
            &seen,
            &caller,
            "entities_get",
            &json!({ "id": "entity-1", "entityType": "customer", "data": { "taskId": "task-y", "id": "proc-x" } }),
        );
        keep(&seen, &caller, "processes_create", &json!({ "id": "proc-1", "name": "n", "nodes": [{ "id": "proc-node" }] }));
        keep(&seen, &caller, "audit_log", &json!({ "id": "audit-1" }));
        assert_eq!(seen.met(&caller, plain("task")), ["task-1", "task-2"]);
        assert_eq!(seen.met(&caller, plain("execution")), ["exec-1"]);
        assert_eq!(seen.met(&caller, IdKind { kind: "record", of: "customer" }), ["entity-1"]);
        assert_eq!(seen.met(&caller, plain("type")), ["customer"]);
        assert_eq!(seen.met(&caller, plain("process")), ["proc-1"]);
        assert!(seen.met(&caller, IdKind { kind: "record", of: "order" }).is_empty());
        assert!(seen.has_met(&caller, plain("task"), "task-1") && !seen.has_met(&caller, plain("process"), "task-1"));
    }

    #[test]
    fn what_one_caller_met_no_other_is_told() {
        let seen = KnownIds::default();
        keep(&seen, &of("t", "a"), "tasks_get", &json!({ "taskId": "task-1" }));
        for other in [of("t", "b"), of("u", "a"), of("t", "")] {
            assert!(seen.met(&other, plain("task")).is_empty() && !seen.has_met(&other, plain("task"), "task-1"));
        }
        assert_eq!(seen.met(&of("t", "a"), plain("task")), ["task-1"]);
    }

    #[test]
    fn a_caller_keeps_the_latest_two_hundred() {
        let (seen, caller) = (KnownIds::default(), of("t", "a"));
        for number in 0..300 {
            keep(&seen, &caller, "tasks_get", &json!({ "taskId": format!("task-{number}") }));
        }
        keep(&seen, &caller, "tasks_get", &json!({ "taskId": "task-200" }));
        keep(&seen, &caller, "tasks_get", &json!({ "taskId": "x".repeat(MAX_ID_LENGTH + 1) }));
        let met = seen.met(&caller, plain("task"));
        assert_eq!(
            (met.len(), met[0].as_str(), met[1].as_str(), met[199].as_str()),
            (MAX_IDS_PER_CALLER, "task-200", "task-299", "task-100")
        );
    }
}
