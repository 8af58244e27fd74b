//! Ids that a caller has met in answers, offered when it has to name one again.
//!
//! Kept by tenant and subject, in memory alone: no id comes to anybody but the one who was given it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::Equivalent;
use moka::sync::Cache;
use serde_json::Value;

use crate::api::Entry;
use crate::api::ids::TenantId;
use crate::auth::Caller;

/// How many ids of a caller are kept; the oldest gives way.
const MOST: usize = 200;
/// How many callers are remembered.
const CALLERS: u64 = 10_000;
/// How long, after they last called.
const KEPT: Duration = Duration::from_hours(12);
/// Longest id that is kept, in bytes.
const LONGEST: usize = 256;
/// How many objects of one answer are looked at.
const LOOKED_AT: usize = 1000;

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdKind<'a> {
    Task,
    Execution,
    Process,
    /// A record of a type.
    Record(&'a str),
    /// A type of records.
    Type,
}

/// The ids that callers have met.
#[derive(Debug)]
pub(super) struct KnownIds {
    callers: Cache<Key, Arc<Mutex<VecDeque<KnownId>>>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    tenant: TenantId,
    subject: String,
}

/// A caller whose ids are looked for; it hashes as its key does.
#[derive(Hash)]
struct ListKeyRef<'a> {
    tenant: &'a TenantId,
    subject: &'a String,
}

impl Equivalent<Key> for ListKeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.tenant == key.tenant && *self.subject == key.subject
    }
}

/// An id that was met. A record's type is part of what it names.
#[derive(Debug, PartialEq, Eq)]
struct KnownId {
    kind: &'static str,
    of: String,
    id: String,
}

impl Default for KnownIds {
    fn default() -> Self {
        Self { callers: Cache::builder().max_capacity(CALLERS).time_to_idle(KEPT).build() }
    }
}

impl KnownIds {
    /// Keeps the ids in an answer that a caller was given.
    pub(super) fn keep(&self, caller: &Caller, entry: &Entry, answer: &Value) {
        let (mut found, mut left) = (Vec::new(), LOOKED_AT);
        walk(answer, 0, entry.service.module == "processes", &mut left, &mut found);
        if found.is_empty() {
            return;
        }
        let met = self
            .callers
            .get(&look(caller))
            .unwrap_or_else(|| self.callers.get_with(Key { tenant: caller.tenant.clone(), subject: caller.subject.clone() }, Arc::default));
        let mut met = met.lock().unwrap_or_else(PoisonError::into_inner);
        // What stands first in an answer is to be offered first.
        for (thing, id) in found.into_iter().rev() {
            let (kind, of) = name(thing);
            met.retain(|known| !(known.kind == kind && known.of == of && known.id == id));
            met.push_front(KnownId { kind, of: of.to_owned(), id: id.to_owned() });
        }
        met.truncate(MOST);
    }

    /// The ids of such things that a caller has met, the latest first.
    pub(super) fn met(&self, caller: &Caller, thing: IdKind<'_>) -> Vec<String> {
        let Some(met) = self.callers.get(&look(caller)) else { return Vec::new() };
        let (kind, of) = name(thing);
        let met = met.lock().unwrap_or_else(PoisonError::into_inner);
        met.iter().filter(|known| known.kind == kind && known.of == of).map(|known| known.id.clone()).collect()
    }
}

const fn look(caller: &Caller) -> ListKeyRef<'_> {
    ListKeyRef { tenant: &caller.tenant, subject: &caller.subject }
}

const fn name(thing: IdKind<'_>) -> (&'static str, &str) {
    match thing {
        IdKind::Task => ("task", ""),
        IdKind::Execution => ("execution", ""),
        IdKind::Process => ("process", ""),
        IdKind::Record(kind) => ("record", kind),
        IdKind::Type => ("type", ""),
    }
}

/// Finds the ids of an answer by the contract's names, in the object itself and in the items of a list. What somebody
/// put into a record or into variables is not looked at: those are words of people, not ids of the platform.
fn walk<'a>(value: &'a Value, depth: usize, of_processes: bool, left: &mut usize, found: &mut Vec<(IdKind<'a>, &'a str)>) {
    match value {
        Value::Object(fields) if *left > 0 => {
            *left -= 1;
            let text = |name: &str| fields.get(name).and_then(Value::as_str).filter(|id| !id.is_empty() && id.len() <= LONGEST);
            let mut keep = |thing: IdKind<'a>, id: Option<&'a str>| found.extend(id.map(|id| (thing, id)));
            keep(IdKind::Task, text("taskId"));
            keep(IdKind::Execution, text("executionId"));
            keep(IdKind::Process, text("processId"));
            if let Some(kind) = text("entityType") {
                keep(IdKind::Record(kind), text("id"));
                keep(IdKind::Type, Some(kind));
            } else if of_processes {
                keep(IdKind::Process, text("id"));
            }
            if depth == 0 {
                for items in ["items", "result"].into_iter().filter_map(|name| fields.get(name)) {
                    walk(items, 1, of_processes, left, found);
                }
            }
        }
        Value::Array(items) if depth <= 1 => items.iter().for_each(|item| walk(item, 2, of_processes, left, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::catalogue;
    use crate::auth::Credential;

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
        assert_eq!(seen.met(&caller, IdKind::Task), ["task-1", "task-2"]);
        assert_eq!(seen.met(&caller, IdKind::Execution), ["exec-1"]);
        assert_eq!(seen.met(&caller, IdKind::Record("customer")), ["entity-1"]);
        assert_eq!(seen.met(&caller, IdKind::Type), ["customer"]);
        assert_eq!(seen.met(&caller, IdKind::Process), ["proc-1"]);
        assert!(seen.met(&caller, IdKind::Record("order")).is_empty());
    }

    #[test]
    fn what_one_caller_met_no_other_is_told() {
        let seen = KnownIds::default();
        keep(&seen, &of("t", "a"), "tasks_get", &json!({ "taskId": "task-1" }));
        for other in [of("t", "b"), of("u", "a"), of("t", "")] {
            assert!(seen.met(&other, IdKind::Task).is_empty());
        }
        assert_eq!(seen.met(&of("t", "a"), IdKind::Task), ["task-1"]);
    }

    #[test]
    fn a_caller_keeps_the_latest_two_hundred() {
        let (seen, caller) = (KnownIds::default(), of("t", "a"));
        for number in 0..300 {
            keep(&seen, &caller, "tasks_get", &json!({ "taskId": format!("task-{number}") }));
        }
        keep(&seen, &caller, "tasks_get", &json!({ "taskId": "task-200" }));
        keep(&seen, &caller, "tasks_get", &json!({ "taskId": "x".repeat(LONGEST + 1) }));
        let met = seen.met(&caller, IdKind::Task);
        assert_eq!((met.len(), met[0].as_str(), met[1].as_str(), met[199].as_str()), (MOST, "task-200", "task-299", "task-100"));
    }
}
