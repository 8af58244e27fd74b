//! A route that a caller names, in one form: what no tool may reach is refused in every spelling.
//!
//! Platforms differ in how they read a path: some decode it twice, take `\` for `/`, cut off what follows `;`, or ignore
//! case. A path that two readers may read differently is refused, so that the route that is judged is the one that is called.

use percent_encoding::{percent_decode_str, utf8_percent_encode};

use super::catalogue::{Entry, catalogue};
use super::operation::{Method, Spec};
use super::problem::FieldError;
use super::wire::SEGMENT;

/// Longest path, in bytes.
const MAX_PATH: usize = 2048;

/// A method and a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    method: Method,
    segments: Vec<String>,
}

/// Why no caller may call a route by its path.
#[derive(Debug, Clone, Copy)]
pub enum Barred {
    /// It is about logins and tokens.
    Logins,
    /// It deletes records.
    Records,
    /// An operation covers it.
    Covered(&'static Entry),
}

impl Route {
    /// Reads a path, whose segments may be percent-encoded once.
    ///
    /// # Errors
    /// A path that is not absolute and normalised, or that platforms may read differently.
    pub fn read(method: Method, path: &str) -> Result<Self, FieldError> {
        let fault = |code: &str, detail: &str| FieldError::new("/path", code, detail);
        if path.len() > MAX_PATH {
            return Err(fault("length", "is longer than 2048 bytes"));
        }
        let Some(rest) = path.strip_prefix('/') else {
            return Err(fault("relative", "must begin with / and have no scheme and no host, such as /warehouses/7"));
        };
        if path.contains(['?', '#']) {
            return Err(fault("query", "must have neither ? nor #; parameters go into `query`"));
        }
        if path.contains(['{', '}']) {
            return Err(fault("placeholder", "has a placeholder; put the value itself in its place"));
        }
        Ok(Self { method, segments: rest.split('/').map(segment).collect::<Result<_, _>>()? })
    }

    /// The method.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// The path as it is sent, each segment percent-encoded.
    #[must_use]
    pub fn path(&self) -> String {
        self.segments.iter().flat_map(|segment| ["/".into(), utf8_percent_encode(segment, SEGMENT).to_string()]).collect()
    }

    /// Why the route may not be called by its path, if so.
    #[must_use]
    pub fn barred(&self) -> Option<Barred> {
        let has = |name: &str| self.segments.iter().any(|segment| segment.eq_ignore_ascii_case(name));
        if has("auth") {
            return Some(Barred::Logins);
        }
        if let Some(covering) = catalogue().iter().find(|entry| self.is_of(&entry.spec)) {
            return Some(Barred::Covered(covering));
        }
        (self.method == Method::Delete && (has("records") || has("entities"))).then_some(Barred::Records)
    }

    /// Whether it is the route of an operation, below the prefixes by which gateways serve one too.
    fn is_of(&self, spec: &Spec) -> bool {
        let is_prefix = |segment: &&String| {
            let version = segment.strip_prefix(['v', 'V']).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
            version || segment.eq_ignore_ascii_case("api")
        };
        let bare: Vec<&String> = self.segments.iter().skip_while(is_prefix).collect();
        let known: Vec<&str> = spec.path.split('/').skip(1).collect();
        let fits = |(known, given): (&&str, &String)| known.starts_with('{') || known.eq_ignore_ascii_case(given);
        self.method == spec.method && known.len() == bare.len() && known.iter().zip(bare).all(fits)
    }
}

/// Decodes one segment, which must mean the same to every reader.
fn segment(written: &str) -> Result<String, FieldError> {
    let fault = |code: &str, detail: &str| FieldError::new("/path", code, detail);
    let text = percent_decode_str(written).decode_utf8().map_err(|_| fault("encoding", "is not UTF-8 once decoded"))?;
    // What is left of a `%` after decoding once is an escape that was escaped, or no escape at all.
    if text.contains('%') {
        return Err(fault("encoding", "has a % that is not an escape, or an escape of an escape"));
    }
    if text.contains(['/', '\\']) {
        return Err(fault("separator", "has an escaped / or a \\ within a segment"));
    }
    if text.contains(';') {
        return Err(fault("parameter", "has a ; which some platforms cut off"));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace() && c != ' ') {
        return Err(fault("character", "has a control character"));
    }
    if text.trim_matches(['.', ' ']).is_empty() {
        return Err(fault("segment", "has an empty segment, as in //, at its end, or one of dots alone"));
    }
    if text.trim() != text {
        return Err(fault("segment", "has a segment that begins or ends with a space"));
    }
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn barred(method: Method, path: &str) -> Option<Barred> {
        Route::read(method, path).unwrap().barred()
    }

    #[test]
    fn a_path_that_two_readers_may_read_differently_is_refused() {
        for (path, code) in [
            ("", "relative"),
            ("warehouses", "relative"),
            ("http://elsewhere.example/x", "relative"),
            ("//elsewhere.example/x", "segment"),
            ("/", "segment"),
            ("/a//b", "segment"),
            ("/a/", "segment"),
            ("/a/../auth/login", "segment"),
            ("/a/./b", "segment"),
            ("/a/%2e%2E/b", "segment"),
            ("/a/.%2e/b", "segment"),
            ("/a/.../b", "segment"),
            ("/a%2fb", "separator"),
            ("/a%2Fb", "separator"),
            ("/a\\b", "separator"),
            ("/a%5cb", "separator"),
            ("/a%252fb", "encoding"),
            ("/a%2", "encoding"),
            ("/100%", "encoding"),
            ("/%ff", "encoding"),
            ("/a%00b", "character"),
            ("/a\nb", "character"),
            ("/a%0d%0aX-Tenant-Id:%20other", "character"),
            ("/a;jsessionid=1", "parameter"),
            ("/auth%3Bx/login", "parameter"),
            ("/auth%20/login", "segment"),
            ("/a?b=c", "query"),
            ("/a#b", "query"),
            ("/tasks/{id}", "placeholder"),
        ] {
            assert_eq!(Route::read(Method::Get, path).unwrap_err().code, code, "{path:?}");
        }
        assert_eq!(Route::read(Method::Get, &format!("/{}", "a".repeat(2048))).unwrap_err().code, "length");
    }

    #[test]
    fn a_path_is_sent_as_it_was_judged() {
        for (path, sent) in [("/warehouses/7", "/warehouses/7"), ("/M%C3%BCller/a b", "/M%C3%BCller/a%20b"), ("/%77ares", "/wares")] {
            assert_eq!(Route::read(Method::Get, path).unwrap().path(), sent);
        }
    }

    #[test]
    fn what_a_tool_covers_is_its_own_in_every_spelling() {
        for (method, path, tool) in [
            (Method::Get, "/tasks", "tasks_list"),
            (Method::Get, "/api/tasks/task-1", "tasks_get"),
            (Method::Get, "/API/v1/Tasks/task-1", "tasks_get"),
            (Method::Get, "/t%61sks", "tasks_list"),
            (Method::Delete, "/entities/customer/ent-1", "entities_delete"),
            (Method::Post, "/users", "users_create"),
        ] {
            let found = barred(method, path);
            assert!(matches!(found, Some(Barred::Covered(entry)) if entry.spec.name == tool), "{path}: {found:?}");
        }
        for (method, path) in [(Method::Delete, "/tasks/task-1"), (Method::Get, "/warehouses/tasks"), (Method::Get, "/openapi.json")] {
            assert!(barred(method, path).is_none(), "{path}");
        }
        for entry in catalogue().iter().filter(|entry| !entry.spec.path.starts_with("/auth/")) {
            let path: Vec<&str> = entry.spec.path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
            assert!(matches!(barred(entry.spec.method, &path.join("/")), Some(Barred::Covered(_))), "{}", entry.spec.name);
        }
    }

    #[test]
    fn logins_and_deletion_of_records_are_out_of_reach() {
        for path in ["/auth/login", "/api/auth/keys", "/AUTH/x", "/%61uth/sessions", "/v2/auth"] {
            assert!(matches!(barred(Method::Post, path), Some(Barred::Logins)), "{path}");
        }
        for path in ["/entities/customer", "/records/7", "/api/Entities/customer/1/2"] {
            assert!(matches!(barred(Method::Delete, path), Some(Barred::Records)), "{path}");
        }
    }
}
