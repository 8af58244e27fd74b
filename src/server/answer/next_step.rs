//! What to do after an error: correct, look, wait, ask a person, or let it be.

use crate::api::{Effect, Entry, SERVICES};
use crate::error::{Error, Kind};

/// The next step of a model that met an error: what the error says itself, or what follows from its kind; then
/// whether and when to repeat the call.
pub(crate) fn next_step(entry: &Entry, error: &Error) -> String {
    let mut step = error.next_step().map_or_else(|| by_kind(entry, error), str::to_owned);
    if !step.is_empty() && !step.ends_with(['.', '!', '?']) {
        step.push('.');
    }
    if let Some(retry) = retry(entry, error) {
        if !step.is_empty() {
            step.push(' ');
        }
        step.push_str(&retry);
    }
    step
}

fn by_kind(entry: &Entry, error: &Error) -> String {
    let text = match error.kind() {
        Kind::NotFound if error.code().ends_with("-NO-ROUTE") => "This platform does not offer it; find another way.",
        Kind::NotFound => match finder(entry, error.code()) {
            // The platform may have named the finder itself.
            step if names_the_same(error.message(), step) => "Take the id from there; the same call will fail again.",
            step => step,
        },
        Kind::Invalid | Kind::Malformed => "Correct what is named above and call again; the same call will fail again.",
        Kind::Unauthenticated => "The login is missing or over: ask the person to sign in again. Do not repeat the call.",
        Kind::Forbidden => "The caller may not do this: ask the person or an administrator for the permission. Do not repeat the call.",
        Kind::Conflict => {
            return format!("Look at the present state{} before you decide what to do; the same call will fail again.", getter(entry));
        }
        Kind::Changed => return format!("Read it again{}, then decide again.", getter(entry)),
        Kind::TooLarge => "Send less at once.",
        Kind::Unsupported => "It is not offered here; find another way.",
        Kind::Internal | Kind::BadAnswer => "Repeating it will hardly help; tell the person, with the code and the request.",
        Kind::RateLimited | Kind::Unavailable | Kind::Timeout if error.is_transient() => "",
        _ => "Tell the person what happened; do not repeat the call.",
    };
    text.to_owned()
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

/// The tools that find a valid id, by the service that missed it.
fn finder(entry: &Entry, code: &str) -> &'static str {
    let missed = code.split('-').nth(1).and_then(|missed| SERVICES.iter().find(|service| service.code == missed));
    match missed.unwrap_or(entry.service).finder {
        "" => "Check the id; it may belong to another tenant.",
        finder => finder,
    }
}

fn names_the_same(message: &str, step: &str) -> bool {
    step.split('`').skip(1).step_by(2).any(|tool| message.contains(tool))
}

/// ` with tasks_get`, where the operation's objects can be read by a tool.
fn getter(entry: &Entry) -> String {
    crate::server::consent::question::getter(entry).map_or_else(String::new, |getter| format!(" with {}", getter.spec.name))
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
    fn an_error_that_knows_the_way_is_not_talked_over() {
        let own = Error::new(Kind::Forbidden, "FM-PLATFORM-FOLDER-MODE", "the folder is open to others").hint("Run: chmod 700 /x");
        assert_eq!(step("tasks_get", &own), "Run: chmod 700 /x.");
        let no_route = Error::new(Kind::NotFound, "FM-AGS-NO-ROUTE", "there is no such route");
        assert!(!step("audit_query", &no_route).contains("audit_query"));
        let named = Error::new(Kind::NotFound, "FM-HTS-NOT-FOUND", "there is no task x; tasks_list shows those there are");
        assert_eq!(step("tasks_get", &named), "Take the id from there; the same call will fail again.");
    }

    #[test]
    fn a_repeat_that_may_do_harm_looks_first() {
        let late = Error::new(Kind::Timeout, "FM-MCP-TIMEOUT", "late").retry_after(Duration::from_secs(7));
        assert!(step("tasks_respond", &late).contains("look with tasks_get before you call again, in 7 seconds"));
        assert!(step("tasks_get", &late).contains("Call again in 7 seconds"));
    }
}
