//! Which operations beyond the contract the platform has: found out once, when the first of them is asked for.
//!
//! A platform says so by its `/openapi.json`, which is read without anybody's token, so that what is learned is the same for
//! every caller. An operator may name the operations instead.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::http::connector::Connector;
use super::origin::Origin;
use crate::api::{Spec, catalogue};
use crate::error::{Error, Kind, Result};
use crate::io::outbound::{self, Unread};

/// Where a platform publishes its operations.
const DOCUMENT: &str = "/openapi.json";
/// Largest document that is read, in bytes.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Longest that the document is waited for.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a failure is remembered before the platform is asked again.
const FAILED_FOR: Duration = Duration::from_mins(1);

/// What is known of the operations beyond the contract.
#[derive(Default)]
pub struct Extensions(Source);

#[derive(Default)]
enum Source {
    /// The platform has all of them, as the embedded one does.
    #[default]
    All,
    /// The operator named them.
    Named(HashSet<&'static str>),
    /// The platform is asked.
    Asked(Box<Asked>),
}

struct Asked {
    reach: Connector,
    learned: Mutex<Learned>,
    /// Held while the platform is asked, so that it is asked once.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
enum Learned {
    #[default]
    Nothing,
    /// It failed at that time, for this reason.
    Failed(Instant, Arc<str>),
    Served(Arc<HashSet<&'static str>>),
}

impl Extensions {
    /// The operations that an operator named; `*` is all of them.
    ///
    /// # Errors
    /// A name that is not an operation beyond the contract.
    pub fn named(names: &[String]) -> Result<Self> {
        if names.iter().any(|name| name == "*") {
            return Ok(Self::default());
        }
        let find = |name: &String| {
            let known = catalogue().get(name).filter(|entry| entry.spec.extension && entry.spec.tool);
            known.map(|entry| entry.spec.name).ok_or_else(|| {
                Error::configuration(
                    Kind::Invalid,
                    "FM-CONFIG-EXTENSIONS",
                    format!("upstream.extensions names {name:?}, which is not an operation beyond the contract"),
                )
                .hint("Name tools such as processes_list, or `*` for all of them.")
            })
        };
        Ok(Self(Source::Named(names.iter().map(find).collect::<Result<_>>()?)))
    }

    /// Asks the platform at an origin, once it matters.
    #[must_use]
    pub fn asked(origin: Arc<dyn Origin>) -> Self {
        Self(Source::Asked(Box::new(Asked {
            reach: Connector::new(origin),
            learned: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        })))
    }

    /// Finds out which operations there are, unless it is known or was tried just now. A failure is not the caller's.
    pub async fn learn(&self) {
        let Source::Asked(asked) = &self.0 else { return };
        if asked.is_settled() {
            return;
        }
        let _turn = asked.turn.lock().await;
        if asked.is_settled() {
            return;
        }
        let found = tokio::time::timeout(TIMEOUT, asked.fetch()).await.unwrap_or_else(|_| Err("it did not answer in time".into()));
        *asked.learned.lock().unwrap_or_else(PoisonError::into_inner) = match found {
            Ok(served) => Learned::Served(Arc::new(served)),
            Err(why) => {
                tracing::info!(%why, "the platform does not say which operations beyond the contract it has");
                Learned::Failed(Instant::now(), why)
            }
        };
    }

    /// Whether the platform has an operation, as far as it is known.
    #[must_use]
    pub fn have(&self, spec: &Spec) -> bool {
        !spec.extension
            || match &self.0 {
                Source::All => true,
                Source::Named(names) => names.contains(spec.made_of.unwrap_or(spec.name)),
                Source::Asked(asked) => {
                    let needed = spec.made_of.unwrap_or(spec.name);
                    matches!(asked.learned(), Learned::Served(served) if served.contains(needed))
                }
            }
    }

    /// Refuses an operation that the platform does not have.
    ///
    /// # Errors
    /// The platform lacks it, or did not say whether it has it.
    pub fn check(&self, spec: &Spec) -> Result<()> {
        if self.have(spec) {
            return Ok(());
        }
        let name = spec.name;
        if let Source::Asked(asked) = &self.0
            && let Learned::Failed(_, why) = asked.learned()
        {
            let message = format!("the platform does not say whether it has {name}, which is beyond the contract: {why}");
            return Err(Error::new(Kind::Unsupported, "FM-MCP-EXTENSION-UNKNOWN", message)
                .hint("Find another way. Where the platform has it, the operator names it in upstream.extensions."));
        }
        Err(Error::new(Kind::Unsupported, "FM-MCP-EXTENSION", format!("this platform does not have {name}, which is beyond the contract"))
            .hint("Find another way. Where the platform has it, the operator names it in upstream.extensions."))
    }

    /// Whether what is known will not change any more: lists that were built before are others.
    #[must_use]
    pub fn are_known(&self) -> bool {
        match &self.0 {
            Source::Asked(asked) => matches!(asked.learned(), Learned::Served(_)),
            Source::All | Source::Named(_) => true,
        }
    }
}

impl Asked {
    fn learned(&self) -> Learned {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_settled(&self) -> bool {
        match self.learned() {
            Learned::Nothing => false,
            Learned::Failed(at, _) => at.elapsed() < FAILED_FOR,
            Learned::Served(_) => true,
        }
    }

    /// Reads the document and picks the operations whose routes are in it.
    async fn fetch(&self) -> Result<HashSet<&'static str>, Arc<str>> {
        let said = |error: &Error| Arc::from(error.message());
        let located = self.reach.locate().await.map_err(|error| said(&error))?;
        let client = self.reach.client(&located).map_err(|error| said(&error))?;
        let response = client
            .get(format!("{}{DOCUMENT}", located.base))
            .header(http::header::ACCEPT, "application/json")
            .send()
            .await
            .map_err(|_| Arc::from("it cannot be reached"))?;
        if !response.status().is_success() {
            return Err(format!("{DOCUMENT} is answered by {}", response.status().as_u16()).into());
        }
        let body = outbound::read_bounded(response, MAX_BYTES).await.map_err(|unread| match unread {
            Unread::TooLarge => Arc::from(format!("{DOCUMENT} is larger than {} MiB", MAX_BYTES >> 20)),
            Unread::Broken(_) => Arc::from("the connection broke"),
        })?;
        let document: Value = serde_json::from_slice(&body).map_err(|_| Arc::from(format!("{DOCUMENT} is not JSON")))?;
        let base = reqwest::Url::parse(&located.base).map(|url| url.path().trim_end_matches('/').to_owned()).unwrap_or_default();
        served(&document, &base).ok_or_else(|| format!("{DOCUMENT} has no paths").into())
    }
}

/// The operations beyond the contract whose routes a document has. Paths may repeat the path of the platform's own address.
fn served(document: &Value, base: &str) -> Option<HashSet<&'static str>> {
    let mut routes = HashSet::new();
    for (path, methods) in document.get("paths")?.as_object()? {
        let path = path.strip_prefix(base).filter(|rest| rest.starts_with('/')).unwrap_or(path);
        routes.extend(methods.as_object().into_iter().flat_map(|methods| methods.keys()).map(|method| route(method, path)));
    }
    let extensions = catalogue().iter().map(|entry| &entry.spec).filter(|spec| spec.extension);
    Some(extensions.filter(|spec| routes.contains(&route(spec.method.name(), spec.path))).map(|spec| spec.name).collect())
}

/// A route without the names of its placeholders.
fn route(method: &str, path: &str) -> String {
    let segments = path.trim_end_matches('/').split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment });
    format!("{} {}", method.to_ascii_uppercase(), segments.collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(name: &str) -> &'static Spec {
        &catalogue().get(name).unwrap().spec
    }

    #[test]
    fn a_document_names_operations_by_their_routes() {
        let document = json!({ "paths": {
            "/processes/": { "get": {} },
            "/api/processes/{processId}": { "get": {}, "parameters": [] },
            "/executions": { "post": {} },
            "/users/{id}/roles": 5,
        } });
        let found = |base: &str| {
            let mut found: Vec<&str> = served(&document, base).unwrap().into_iter().collect();
            found.sort_unstable();
            found
        };
        assert_eq!(found("/api"), ["processes_get", "processes_list"]);
        assert_eq!(found(""), ["processes_list"]);
        assert!(served(&json!({ "openapi": "3.1.0" }), "").is_none());
    }

    #[test]
    fn an_operator_names_what_there_is() {
        let some = Extensions::named(&["roles_list".to_owned()]).unwrap();
        assert!(some.have(spec("roles_list")) && some.have(spec("tasks_list")) && !some.have(spec("users_list")));
        assert_eq!(some.check(spec("users_list")).unwrap_err().code(), "FM-MCP-EXTENSION");
        assert!(Extensions::named(&["*".to_owned()]).unwrap().have(spec("users_list")));
        assert!(!Extensions::named(&[]).unwrap().have(spec("users_list")));
        for wrong in ["tasks_list", "users_create", "nothing"] {
            assert_eq!(Extensions::named(&[wrong.to_owned()]).err().unwrap().code(), "FM-CONFIG-EXTENSIONS", "{wrong}");
        }
    }
}
