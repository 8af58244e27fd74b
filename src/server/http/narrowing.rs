//! The tools that a request wants to be offered, by headers or in the URL. Both only narrow what the operator offers.

use std::sync::Arc;

use http::{HeaderMap, Uri};
use reqwest::Url;

use crate::api::near::nearest;
use crate::error::{Error, Kind, Result};
use crate::server::toolsets::{READ_ONLY_HEADER, Selection, TOOLSETS_HEADER};

/// The two choices, as parameters of the URL and after `X-MCP-` in headers.
const TOOLSETS: &str = "toolsets";
const READ_ONLY: &str = "readonly";
/// Names by which other servers have their tools chosen. Here they would choose nothing, which must not go unseen.
const ELSEWHERE: [&str; 3] = ["tools", "exclude-tools", "exclude_tools"];

/// Returns the selection that a request names, if it names any.
///
/// # Errors
/// `FM-MCP-TOOLSETS`: a toolset, a value or the name of a choice does not exist.
pub(super) fn narrowing(uri: &Uri, headers: &HeaderMap) -> Result<Option<Arc<Selection>>> {
    let mut chosen = Vec::new();
    let mut read_only = false;
    for (name, value) in headers {
        let Some(choice) = name.as_str().strip_prefix("x-mcp-") else { continue };
        let text = || value.to_str().map_err(|_| wrong(format!("the header {name} is not text")));
        match choice {
            TOOLSETS => chosen.push((TOOLSETS_HEADER, text()?.to_owned())),
            READ_ONLY => read_only |= is_true(READ_ONLY_HEADER, text()?)?,
            other => {
                if let Some(meant) = meant(other, [TOOLSETS_HEADER, READ_ONLY_HEADER]) {
                    return Err(wrong(format!("the header {name} chooses nothing; did you mean {meant}?")));
                }
            }
        }
    }
    for (name, value) in parameters(uri)? {
        if name == TOOLSETS {
            chosen.push(("?toolsets=", value));
        } else if name == READ_ONLY {
            read_only |= is_true("?readonly=", &value)?;
        } else if let Some(meant) = meant(&name, [TOOLSETS, READ_ONLY]) {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
            return Err(wrong(format!("the parameter {shown} of the URL chooses nothing; did you mean {meant}?")));
        }
    }
    if chosen.is_empty() && !read_only {
        return Ok(None);
    }
    // Several headers of one name are one list, as HTTP has it; what header and URL say narrows each other.
    let mut lists: Vec<(&str, Vec<&str>)> = Vec::new();
    for (place, text) in &chosen {
        let toolsets = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        match lists.iter_mut().find(|(known, _)| known == place) {
            Some((_, list)) => list.extend(toolsets),
            None => lists.push((place, toolsets.collect())),
        }
    }
    Selection::of_host(&lists, read_only).map(|selection| Some(Arc::new(selection)))
}

/// The parameters of the URL, decoded.
fn parameters(uri: &Uri) -> Result<Vec<(String, String)>> {
    let Some(query) = uri.query() else { return Ok(Vec::new()) };
    let mut url = Url::parse("http://localhost/").map_err(Error::internal)?;
    url.set_query(Some(query));
    Ok(url.query_pairs().into_owned().collect())
}

fn is_true(place: &str, value: &str) -> Result<bool> {
    match value.trim() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        other => {
            let shown: String = other.chars().filter(|c| !c.is_control()).take(80).collect();
            Err(wrong(format!("{place} says `{shown}`, and must be true, false, 1 or 0")))
        }
    }
}

/// Which of the two choices a name was likely meant to be.
fn meant(name: &str, [toolsets, read_only]: [&'static str; 2]) -> Option<&'static str> {
    match nearest(name, &[TOOLSETS, READ_ONLY]) {
        Some(READ_ONLY) => Some(read_only),
        None if !ELSEWHERE.contains(&name) => None,
        _ => Some(toolsets),
    }
}

fn wrong(message: String) -> Error {
    Error::new(Kind::Malformed, "FM-MCP-TOOLSETS", message)
        .hint(format!("Choose tools by {TOOLSETS_HEADER}, {READ_ONLY_HEADER} or /mcp?{TOOLSETS}=…&{READ_ONLY}=1, or leave the choice out."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::catalogue;

    fn read(url: &str, headers: &[(&'static str, &str)]) -> Result<Option<Arc<Selection>>> {
        let headers: HeaderMap = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        narrowing(&url.parse().unwrap(), &headers)
    }

    #[test]
    fn headers_and_the_url_narrow_each_other() {
        let held = |url: &str, headers: &[(&'static str, &str)]| -> Vec<&str> {
            let selection = read(url, headers).unwrap().unwrap();
            catalogue().tools().filter(|entry| selection.holds(entry)).map(|entry| entry.spec.name).collect()
        };
        assert_eq!(
            held("/mcp?toolsets=tasks,documents&readonly=1", &[("x-mcp-toolsets", "tasks")]),
            ["tasks_get", "tasks_list", "tasks_history", "tasks_wait"]
        );
        assert_eq!(held("/mcp?toolsets=registry", &[("x-mcp-readonly", "true")]), held("/mcp?toolsets=registry&readonly=true", &[]));
        assert_eq!(held("/mcp?toolsets=tasks&toolsets=audit", &[]), held("/mcp", &[("x-mcp-toolsets", "tasks, audit,")]));
        for nothing in ["/mcp", "/mcp?", "/mcp?readonly=0", "/mcp?a=1&profile=x&tool=y"] {
            assert!(read(nothing, &[("x-mcp-client", "x"), ("x-mcp-readonly", "false")]).unwrap().is_none(), "{nothing}");
        }
    }

    #[test]
    fn a_choice_that_would_go_unseen_is_refused() {
        for (url, header, says) in [
            ("/mcp?toolsets=payroll", ("x-a", ""), "?toolsets= names the toolset `payroll`"),
            ("/mcp?toolsets=", ("x-a", ""), "?toolsets= names no toolset"),
            ("/mcp?readonly=yes", ("x-a", ""), "`yes`"),
            ("/mcp?readonly", ("x-a", ""), "must be true"),
            ("/mcp?toolset=tasks", ("x-a", ""), "did you mean toolsets?"),
            ("/mcp?tools=tasks_list", ("x-a", ""), "did you mean toolsets?"),
            ("/mcp?read_only=1", ("x-a", ""), "did you mean readonly?"),
            ("/mcp", ("x-mcp-toolsets", " , "), "X-MCP-Toolsets names no toolset"),
            ("/mcp", ("x-mcp-toolsets", "task"), "did you mean tasks?"),
            ("/mcp", ("x-mcp-toolsets", "ta\u{e4}"), "is not text"),
            ("/mcp", ("x-mcp-tools", "tasks_list"), "did you mean X-MCP-Toolsets?"),
            ("/mcp", ("x-mcp-read-only", "1"), "did you mean X-MCP-Readonly?"),
        ] {
            let error = read(url, &[header]).unwrap_err();
            assert!(error.code() == "FM-MCP-TOOLSETS" && error.to_string().contains(says), "{url} {header:?}: {error}");
            assert!(error.next_step().is_some(), "{url}");
        }
    }
}
