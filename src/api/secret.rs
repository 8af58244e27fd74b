//! Secrets of the contract: text that does not print itself, and that no answer to a model holds.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::catalogue::catalogue;

/// Names of signatures in an address, each of which lets whoever has it in.
const SIGNATURES: [&str; 4] = ["sig", "xamzsignature", "xgoogsignature", "sharedaccesssignature"];

/// How a schema marks a secret.
const FORMAT: &str = "password";
/// Names of secrets in answers that the contract leaves open, such as what an integration is configured with.
const OPEN: [&str; 25] = [
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
    "secretaccesskey",
    "awssecretaccesskey",
    "sharedaccesskey",
    "accountkey",
    "sastoken",
    "connectionstring",
    "passphrase",
    "passwd",
    "pwd",
    "pass",
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
    /// By their first letter, since every field of every answer is looked up.
    static NAMES: LazyLock<[Vec<String>; 27]> = LazyLock::new(|| {
        let mut names = names();
        std::array::from_fn(|place| names.extract_if(.., |name| place_of(name.chars().next()) == place).collect())
    });
    let letters = letters_of(name);
    let alike = &NAMES[place_of(letters.clone().next())];
    alike.iter().any(|secret| letters.clone().eq(secret.chars()))
}

/// The place of a letter in the alphabet, behind which all else is.
fn place_of(letter: Option<char>) -> usize {
    letter.filter(char::is_ascii_lowercase).map_or(26, |letter| letter as usize - 'a' as usize)
}

fn letters_of(name: &str) -> impl Iterator<Item = char> + Clone {
    name.chars().filter(|c| !matches!(c, '_' | '-' | '.' | ' ')).map(|c| c.to_ascii_lowercase())
}

/// Whether an address or a connection string holds a password, a key or a signature.
#[must_use]
pub fn is_in_address(text: &str) -> bool {
    let in_authority = text.split_once("://").is_some_and(|(_, rest)| {
        let end = rest.find(['/', '?', '#', ' ']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (login, follows) = authority.rsplit_once('@').map_or((authority, path.contains('@')), |(login, _)| (login, true));
        let password = login.split_once(':').map_or("", |(_, password)| password);
        // A password may have a `/` in it; what is all digits before one is a port.
        follows && !password.is_empty() && (authority.contains('@') || !password.bytes().all(|byte| byte.is_ascii_digit()))
    });
    let names_one = |pair: &str| {
        let Some((name, value)) = pair.split_once('=') else { return false };
        let is_named = is_secret(name.trim()) || SIGNATURES.iter().any(|known| letters_of(name.trim()).eq(known.chars()));
        is_named && !matches!(value.trim().trim_matches(['\'', '"']), "" | "?")
    };
    in_authority || text.split([';', '&', '?', '\n']).any(names_one) || text.split([';', '&', '?', ',', ' ', '\t', '\n']).any(names_one)
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
    fn an_address_that_lets_anybody_in_is_told_from_one_that_does_not() {
        for secret in [
            "postgres://ada:hunter2@db.example.com/sales",
            "postgres://ada:hun/ter2@db.example.com/sales",
            "mongodb+srv://ada:12345@cluster.example.com",
            "Server=db.example.com;Database=sales;User Id=ada;Password = hunter2;",
            "host=db.example.com password='hunter2' dbname=sales",
            "jdbc:postgresql://db.example.com/sales?user=ada&password=hunter2",
            "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=aGk=",
            "https://acme.blob.core.windows.net/rows.csv?sv=2024&sig=aGk%3D",
            "https://bucket.s3.amazonaws.com/rows.csv?X-Amz-Signature=abc",
        ] {
            assert!(is_in_address(secret), "{secret}");
        }
        for open in [
            "",
            "db.example.com:5432",
            "https://db.example.com:8443/a@b",
            "https://ada@db.example.com/rows",
            "postgres://db.example.com/sales?sslmode=disable&application_name=x",
            "host=db.example.com password=",
            "SELECT * FROM logins WHERE token = ?",
            "secret://sales-db",
        ] {
            assert!(!is_in_address(open), "{open}");
        }
    }

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
