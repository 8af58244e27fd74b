//! Secrets of the contract: text that does not print itself, and that no answer to a model holds.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::catalogue::catalogue;

/// How a schema marks a secret.
const FORMAT: &str = "password";
/// Names of secrets in answers that the contract leaves open, such as what an integration is configured with.
const OPEN: [&str; 17] = [
    "secret",
    "clientsecret",
    "credentials",
    "token",
    "idtoken",
    "authtoken",
    "sessiontoken",
    "apikey",
    "xapikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "signingkey",
    "passphrase",
    "passwd",
    "authorization",
    "bearer",
];

/// A password, a token or a key. It is written to the wire, and shown nowhere else.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Returns the text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl From<Secret> for SecretString {
    fn from(secret: Secret) -> Self {
        secret.0.into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": FORMAT })
    }
}

/// Whether a field of this name holds a secret, however it is spelt.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    static NAMES: LazyLock<Vec<String>> = LazyLock::new(names);
    let mut letters = name.chars().filter(|c| !matches!(c, '_' | '-' | '.' | ' ')).map(|c| c.to_ascii_lowercase());
    NAMES.iter().any(|secret| letters.clone().eq(secret.chars())) && letters.next().is_some()
}

/// The names of secret fields: those of operations that a model can reach, those of logins, and the open ones.
fn names() -> Vec<String> {
    let mut names: Vec<String> = OPEN.map(str::to_owned).into();
    for entry in catalogue().iter().filter(|entry| entry.spec.tool || entry.spec.public) {
        for schema in entry.endpoint.schemas() {
            collect(&schema, &mut names);
        }
    }
    names
}

fn collect(schema: &Value, names: &mut Vec<String>) {
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let plain = name.replace(['_', '-'], "").to_ascii_lowercase();
        if property["format"] == FORMAT && !names.contains(&plain) {
            names.push(plain);
        }
        collect(property, names);
    }
    if let Some(items) = schema.get("items") {
        collect(items, names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_secrets_follow_from_their_type() {
        let mut names = names();
        names.retain(|name| !OPEN.contains(&name.as_str()));
        names.sort_unstable();
        assert_eq!(names, ["accesstoken", "password", "refreshtoken", "signingsecret"]);
        for secret in ["access_token", "PASSWORD", "Signing-Secret", "apiKey", "X-API-Key", "id token", "private.key", "Authorization"] {
            assert!(is_secret(secret), "{secret}");
        }
        for open in ["secretary", "", "tokens", "tokensUsed", "key", "nextToken", "author"] {
            assert!(!is_secret(open), "{open}");
        }
        assert_eq!(format!("{:?}", Secret::from("hunter2")), "Secret");
    }
}
