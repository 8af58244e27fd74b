//! What to do after an error: correct, look, wait, ask a person, or let it be.

use serde_json::{Map, Value};

use crate::api::{Effect, Entry, SERVICES, catalogue, wire};
use crate::error::{Error, Kind};

/// The next step of a model that met an error: what the error says itself, or what follows from its kind; then
/// whether and when to repeat the call.
pub(crate) fn next_step(entry: &Entry, error: &Error, has: &dyn Fn(&Entry) -> bool) -> String {
    let own = error.next_step().map(str::to_owned);
    let repetition = if error.is_transient() {
        retry(entry, error, has)
    } else if own.is_none() {
        repetition(error.kind()).to_owned()
    } else {
        String::new()
    };
    let step = own.unwrap_or_else(|| by_kind(entry, error, has));
    let end = if step.is_empty() || step.ends_with(['.', '!', '?']) { "" } else { "." };
    let between = if step.is_empty() || repetition.is_empty() { "" } else { " " };
    [step.as_str(), end, between, repetition.as_str()].concat()
}

fn by_kind(entry: &Entry, error: &Error, has: &dyn Fn(&Entry) -> bool) -> String {
    let text = match error.kind() {
        Kind::NotFound if error.code().ends_with("-NO-ROUTE") => "This platform does not offer it; find another way.",
        Kind::NotFound => return find(entry, error, has),
        Kind::Invalid | Kind::Malformed if !error.fields().is_empty() => "Correct the fields named above.",
        Kind::Invalid | Kind::Malformed if takes_nothing(entry) => "The call takes no arguments that could be corrected: tell the person.",
        Kind::Invalid | Kind::Malformed => "Compare the arguments with the input schema and with the message, and correct them.",
        Kind::Unauthenticated => "The login is missing or over: ask the person to sign in again.",
        Kind::Forbidden => "The caller may not do this: ask the person or an administrator for the permission.",
        Kind::Conflict => return format!("Look at the present state{} before you decide what to do.", getter(entry, has)),
        Kind::Changed => return format!("Read the object again{}, then decide again.", getter(entry, has)),
        Kind::TooLarge => "Send less at once.",
        Kind::Unsupported => "It is not offered here; find another way.",
        // When to call again is all that there is to say.
        _ if error.is_transient() => "",
        Kind::Internal | Kind::BadAnswer if error.request().is_some() => "Tell the person, with the code and the request.",
        Kind::Internal | Kind::BadAnswer => "Tell the person, with the code.",
        _ => "Tell the person what happened.",
    };
    text.to_owned()
}

/// What becomes of the same call if it is repeated and nothing else changes.
const fn repetition(kind: Kind) -> &'static str {
    match kind {
        Kind::NotFound | Kind::Invalid | Kind::Malformed | Kind::Conflict => "The same call will fail again.",
        Kind::Changed | Kind::TooLarge | Kind::Unsupported => "",
        Kind::Internal | Kind::BadAnswer => "Repeating the call will hardly help.",
        _ => "Do not repeat the call.",
    }
}

/// Whether and when the same call may be repeated.
fn retry(entry: &Entry, error: &Error, has: &dyn Fn(&Entry) -> bool) -> String {
    let when = match error.when_to_retry() {
        Some(after) => format!("in {} seconds", after.as_secs().max(1)),
        None => "in a few seconds".to_owned(),
    };
    let may_have_happened = matches!(error.kind(), Kind::Timeout | Kind::Unavailable) && !error.is_unsent();
    if may_have_happened && entry.spec.effect != Effect::Read && !entry.spec.idempotent {
        format!("It may have happened all the same: look{} before you call again, {when}.", getter(entry, has))
    } else {
        format!("Call again {when}; if it fails three times, tell the person.")
    }
}

/// How to find a valid id: the tools for it, less the one that failed; else the arguments to look at.
fn find(entry: &Entry, error: &Error, has: &dyn Fn(&Entry) -> bool) -> String {
    match finder(entry, error.code(), has) {
        // The platform may have named the finder itself.
        Some(tools) if names_the_same(error.message(), &tools) => "Take the id from there.".to_owned(),
        Some(tools) => tools,
        None => {
            let fields: Vec<String> = wire::path_fields(&entry.spec).map(|field| format!("`{field}`")).collect();
            let what = if fields.is_empty() { "the ids and names among the arguments".to_owned() } else { fields.join(" and ") };
            format!("Check {what}: one may be misspelt or belong to another tenant, or this platform lacks the call.")
        }
    }
}

/// The tools that find a valid id: those of the service whose thing was missed, as in `FM-EES-PROCESS-NOT-FOUND`, else of the
/// service that missed it. The failed tool is no remedy for its own failure, nor is a tool that the platform does not have.
fn finder(entry: &Entry, code: &str, has: &dyn Fn(&Entry) -> bool) -> Option<String> {
    let mut parts = code.strip_suffix("-NOT-FOUND").unwrap_or(code).splitn(3, '-').skip(1);
    let (service, kind) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default().to_ascii_lowercase());
    let of_kind = SERVICES.iter().find(|service| service.ids.iter().any(|id| id.kind == kind && id.lister.is_some()));
    let missed = of_kind.or_else(|| SERVICES.iter().find(|known| known.code == service));
    let sentence = missed.unwrap_or(entry.service).finder.trim_end_matches('.');
    let is_there = |tool: &str| tool != entry.spec.name && catalogue().get(tool).is_some_and(has);
    let others = |clause: &&str| !clause.is_empty() && tools_in(clause).all(is_there);
    let clauses: Vec<&str> = sentence.split("; ").filter(others).collect();
    (!clauses.is_empty()).then(|| clauses.join("; "))
}

/// The tools that a sentence of a service names, in back quotes.
fn tools_in(sentence: &str) -> impl Iterator<Item = &str> {
    sentence.split('`').skip(1).step_by(2)
}

fn names_the_same(message: &str, step: &str) -> bool {
    tools_in(step).any(|tool| message.contains(tool))
}

fn takes_nothing(entry: &Entry) -> bool {
    entry.shape.input.get("properties").and_then(Value::as_object).is_none_or(Map::is_empty)
}

/// ` with tasks_get`, where the operation's objects can be read by another tool.
fn getter(entry: &Entry, has: &dyn Fn(&Entry) -> bool) -> String {
    crate::server::consent::question::getter(entry)
        .filter(|getter| has(getter) && getter.spec.tool && getter.spec.name != entry.spec.name)
        .map_or_else(String::new, |getter| format!(" with {}", getter.spec.name))
}

#[cfg(test)]
mod tests;
