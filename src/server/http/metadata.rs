//! RFC 9728: what tells a host where to get tokens for this server, and the challenges that point to it.
//!
//! Without a configured authorization server there is none of it: hosts that find it begin a login that cannot succeed.

use std::fmt::Write as _;

use axum::Router;
use axum::body::Bytes;
use axum::response::IntoResponse as _;
use axum::routing::get;
use http::Uri;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::json;

use super::HttpOptions;
use crate::api::{Effect, Entry, Permission, Spec, catalogue};
use crate::auth::Access;
use crate::error::{Error, Kind, Result};
use crate::server::consent::question::getter;

/// Where RFC 9728 has the metadata of a resource; the resource's path follows.
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// What is told to hosts.
pub(super) struct Metadata {
    document: Bytes,
    /// The path of the resource, as its URL has it.
    path: String,
    /// Where the document is.
    url: String,
    /// What a host asks for at first: to see, and to do nothing.
    scope: String,
}

impl Metadata {
    /// The metadata, where authorization servers are configured.
    ///
    /// # Errors
    /// They are, and the public URL is not.
    pub(super) fn new(options: &HttpOptions, public: Option<&Uri>, access: &Access) -> Result<Option<Self>> {
        if options.authorization_servers.is_empty() {
            return Ok(None);
        }
        for server in &options.authorization_servers {
            read_url(server, "auth.authorization_servers")?;
        }
        let (Some(url), Some(resource)) = (public, &options.public_url) else {
            return Err(Error::configuration(
                Kind::Invalid,
                "FM-CONFIG-PUBLIC-URL",
                "authorization servers are set, and the server's own URL is not",
            )
            .hint("Set http.public_url to the endpoint as hosts see it, such as https://mcp.example.com/mcp."));
        };
        let path = url.path().trim_end_matches('/').to_owned();
        let origin = url.scheme_str().zip(url.authority()).map(|(scheme, authority)| format!("{scheme}://{authority}")).unwrap_or_default();
        let document = json!({
            "resource": resource,
            "authorization_servers": options.authorization_servers,
            "scopes_supported": names(access, catalogue().tools().map(|entry| &entry.spec)),
            "bearer_methods_supported": ["header"],
            "resource_name": "FlowMaster",
        });
        Ok(Some(Self {
            document: document.to_string().into(),
            url: format!("{origin}{WELL_KNOWN}{path}"),
            scope: names(access, catalogue().tools().map(|entry| &entry.spec).filter(|spec| spec.effect == Effect::Read)).join(" "),
            path,
        }))
    }
}

/// All that a tool needs: its permission, and that of the read that its question makes where a person is asked.
pub(super) fn scopes_of(access: &Access, entry: &Entry, asked: bool) -> String {
    let read = asked.then(|| getter(entry)).flatten();
    names(access, read.map(|read| &read.spec).into_iter().chain([&entry.spec])).join(" ")
}

/// Reads a URL that others are told.
pub(super) fn read_url(text: &str, setting: &str) -> Result<Uri> {
    let url = text.parse::<Uri>().ok().filter(|url| {
        matches!(url.scheme_str(), Some("http" | "https"))
            && url.host().is_some_and(|host| !host.is_empty())
            && !text.contains(['?', '#', '@', '"', '\\'])
    });
    url.ok_or_else(|| {
        Error::configuration(Kind::Invalid, "FM-CONFIG-URL", format!("{setting} holds {text:?}, which is no such URL"))
            .hint("Write it whole, such as https://mcp.example.com/mcp, without a query.")
    })
}

/// The scopes of operations, each once and in the contract's order.
fn names<'a>(access: &'a Access, specs: impl Iterator<Item = &'a Spec>) -> Vec<&'a str> {
    let needed: Vec<Permission> = specs.filter_map(|spec| spec.permission).collect();
    let mut names: Vec<&str> = Vec::new();
    for name in Permission::ALL.iter().filter(|known| needed.contains(known)).map(|known| access.name_of(*known)) {
        // A platform's own name may have characters that no scope has.
        if !names.contains(&name) && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\') {
            names.push(name);
        }
    }
    names
}

/// A challenge of RFC 6750: how to come in, or what is missing.
pub(super) fn challenge(metadata: Option<&Metadata>, error: Option<&str>, scope: Option<&str>) -> String {
    let mut challenge = "Bearer realm=\"flowmaster-mcp\"".to_owned();
    let scope = scope.or_else(|| metadata.map(|metadata| metadata.scope.as_str()));
    let url = metadata.map(|metadata| metadata.url.as_str());
    for (name, value) in [("error", error), ("scope", scope), ("resource_metadata", url)] {
        if let Some(value) = value {
            // Writing to a text cannot fail.
            let _written = write!(challenge, ", {name}=\"{value}\"");
        }
    }
    challenge
}

/// The document at the root and at the resource's path, both as hosts see it and as this server serves it.
pub(super) fn routes(metadata: &Metadata) -> Router {
    let mut router = Router::new();
    let mut paths = vec![WELL_KNOWN.to_owned(), format!("{WELL_KNOWN}/mcp")];
    let public = format!("{WELL_KNOWN}{}", metadata.path);
    // What axum would take for a pattern is left to the root.
    if !paths.contains(&public) && !public.contains(['{', '}', '*']) {
        paths.push(public);
    }
    for path in paths {
        let document = metadata.document.clone();
        router = router.route(
            &path,
            get(move || {
                let document = document.clone();
                async move { ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "max-age=3600")], document).into_response() }
            }),
        );
    }
    router
}
