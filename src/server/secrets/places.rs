//! Where a call names secrets, or holds them: among its credentials, and anywhere in the configuration of a source.

use serde_json::{Map, Value};

use crate::api::secret::{is_in_address, is_secret};

/// How a call names a secret.
pub(super) const SCHEME: &str = "secret://";
/// The argument of tools that holds them.
pub(crate) const CREDENTIALS: &str = "credentials";
/// The argument that says where a source is.
const SOURCE: &str = "sourceConfig";
/// What may stand among credentials as it is: everything else there is a secret.
const OPEN: [&str; 12] = [
    "username",
    "user",
    "clientId",
    "tokenUrl",
    "scope",
    "audience",
    "clientAuthentication",
    "header",
    "prefix",
    "region",
    "account",
    "database",
];
/// Fields of a source that hold data or a question, not the way to it.
const DATA: [&str; 4] = ["content", "contentBase64", "query", "table"];
/// Fields of a source that hold a host.
const HOSTS: [&str; 5] = ["host", "hostname", "server", "endpoint", "address"];

/// What a place holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Held<'a> {
    /// The name of a secret.
    Name(&'a str),
    /// A secret itself.
    Secret,
    /// A secret within an address or a connection string.
    InAddress,
}

/// The places of a call that name secrets or hold them, each by its pointer.
pub(super) fn of(arguments: &Map<String, Value>) -> Vec<(String, Held<'_>)> {
    let mut found = Vec::new();
    for (name, is_secret) in [(CREDENTIALS, true), (SOURCE, false)] {
        if let Some(fields @ Value::Object(_)) = arguments.get(name) {
            walk(fields, name, &format!("/{name}"), is_secret, &mut found);
        }
    }
    found
}

/// Walks a value below a field of a name; `secret` says whether everything there is a secret.
fn walk<'a>(value: &'a Value, name: &str, pointer: &str, secret: bool, found: &mut Vec<(String, Held<'a>)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let secret = (secret && !OPEN.contains(&name.as_str())) || is_secret(name);
                walk(value, name, &format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")), secret, found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                walk(value, name, &format!("{pointer}/{index}"), secret, found);
            }
        }
        Value::String(text) if text.starts_with(SCHEME) => found.push((pointer.to_owned(), Held::Name(&text[SCHEME.len()..]))),
        Value::Null => {}
        _ if secret => found.push((pointer.to_owned(), Held::Secret)),
        Value::String(text) if !DATA.contains(&name) && is_in_address(text) => found.push((pointer.to_owned(), Held::InAddress)),
        _ => {}
    }
}

/// The texts that may say where the platform will send secrets to, and whether each must.
pub(super) fn addresses(arguments: &Map<String, Value>) -> Vec<(&str, bool)> {
    let token_url = arguments.get(CREDENTIALS).and_then(|credentials| credentials.get("tokenUrl"));
    let named = [arguments.get("baseUrl"), token_url].into_iter().flatten().filter_map(Value::as_str);
    let mut found: Vec<(&str, bool)> = named.map(|text| (text, true)).collect();
    if let Some(source) = arguments.get(SOURCE) {
        addresses_in(source, SOURCE, &mut found);
    }
    found
}

fn addresses_in<'a>(value: &'a Value, name: &str, found: &mut Vec<(&'a str, bool)>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| addresses_in(value, name, found)),
        Value::Array(items) => items.iter().for_each(|value| addresses_in(value, name, found)),
        Value::String(text) => {
            let is_host = HOSTS.contains(&name);
            if is_host || (text.contains("://") && !is_secret(name) && !DATA.contains(&name)) {
                found.push((text, is_host));
            }
        }
        _ => {}
    }
}
