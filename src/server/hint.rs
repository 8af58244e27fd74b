//! What to do after an error: correct, look, wait, ask a person, or let it be.

use crate::api::{Effect, Entry};
use crate::error::{Error, Kind};

/// The next step of a model that met an error.
pub(super) fn next_step(entry: &Entry, error: &Error) -> String {
    let mut step = error.next_step().map(str::to_owned).unwrap_or_default();
    let own = match error.kind() {
        // The platform may have named the finder itself.
        Kind::NotFound => Some(finder(entry, error.code())).filter(|step| !names_the_same(error.message(), step)).map(str::to_owned),
        Kind::Invalid | Kind::Malformed if error.next_step().is_none() => {
            Some("Correct what is named above and call again; the same call will fail again.".to_owned())
        }
        Kind::Unauthenticated => Some("The login is missing or over: ask the person to sign in again. Do not repeat the call.".to_owned()),
        Kind::Forbidden => {
            Some("The caller may not do this: ask the person or an administrator for the permission. Do not repeat the call.".to_owned())
        }
        Kind::Conflict => {
            Some(format!("Look at the present state{} before you decide what to do; the same call will fail again.", getter(entry)))
        }
        Kind::Changed => Some(format!("Read it again{}, then decide anew.", getter(entry))),
        Kind::TooLarge => Some("Send less at once.".to_owned()),
        Kind::Unsupported => Some("It is not offered here; find another way.".to_owned()),
        Kind::Internal | Kind::BadAnswer if error.next_step().is_none() => {
            Some("Repeating it will hardly help; tell the person, with the code and the request.".to_owned())
        }
        _ => None,
    };
    for part in own.into_iter().chain(retry(entry, error)) {
        if !step.is_empty() {
            step.push(' ');
        }
        step.push_str(&part);
    }
    if !step.is_empty() {
        return step;
    }
    match error.kind() {
        Kind::NotFound => "Take the id from there; the same call will fail again.".to_owned(),
        _ => "Tell the person what happened; do not repeat the call.".to_owned(),
    }
}

/// Whether and when the same call may be repeated.
fn retry(entry: &Entry, error: &Error) -> Option<String> {
    if !error.is_transient() {
        return None;
    }
    let when = match error.when_to_retry() {
        Some(after) => format!("in {} seconds", after.as_secs().max(1)),
        None => "in a few seconds".to_owned(),
    };
    let may_have_happened = matches!(error.kind(), Kind::Timeout | Kind::Unavailable) && entry.spec.effect != Effect::Read;
    Some(if may_have_happened && !entry.spec.idempotent {
        format!("It may have happened all the same: look{} before you call again, {when}.", getter(entry))
    } else {
        format!("Call again {when}; if it fails three times, tell the person.")
    })
}

/// The tool that finds a valid id, by the service that missed it.
fn finder(entry: &Entry, code: &str) -> &'static str {
    let service = code.split('-').nth(1).filter(|service| FINDERS.iter().any(|(known, _)| known == service)).unwrap_or(entry.service.code);
    FINDERS.iter().find(|(known, _)| *known == service).map_or("Check the id; it may belong to another tenant.", |(_, step)| step)
}

fn names_the_same(message: &str, step: &str) -> bool {
    step.split('`').skip(1).step_by(2).any(|tool| message.contains(tool))
}

const FINDERS: &[(&str, &str)] = &[
    ("PDS", "`audit_query` with resourceType process, or `events_replay` with topic process.created, names the processes there are."),
    ("EES", "`tasks_list` names the executions that wait (executionId), `events_replay` with topic execution.started all of them."),
    ("HTS", "`tasks_list` shows the tasks there are and their ids."),
    ("IDHS", "`entities_query` lists the records of a type, `entities_search` finds them by words."),
    ("AAS", "`audit_query` with resourceType role names the roles there are."),
    ("EBS", "`subscriptions_list` shows the subscriptions there are and their ids."),
    ("ACS", "`audit_query` shows the rows there are."),
];

/// ` with tasks_get`, where the operation's objects can be read by a tool.
fn getter(entry: &Entry) -> String {
    super::question::getter(entry).map_or_else(String::new, |getter| format!(" with {}", getter.spec.name))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::api::catalogue;

    fn step(name: &str, error: &Error) -> String {
        next_step(catalogue().get(name).unwrap(), error)
    }

    #[test]
    fn the_service_that_missed_it_names_the_finder() {
        let missing = Error::new(Kind::NotFound, "FM-PDS-NOT-FOUND", "there is no process");
        assert!(step("executions_start", &missing).contains("process.created"));
    }

    #[test]
    fn every_finder_names_tools_that_exist() {
        for (_, text) in FINDERS {
            for name in text.split('`').skip(1).step_by(2) {
                assert!(super::super::tools::find(name).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn a_repeat_that_may_do_harm_looks_first() {
        let late = Error::new(Kind::Timeout, "FM-MCP-TIMEOUT", "late").retry_after(Duration::from_secs(7));
        assert!(step("tasks_respond", &late).contains("look with tasks_get before you call again, in 7 seconds"));
        assert!(step("tasks_get", &late).contains("Call again in 7 seconds"));
    }
}
