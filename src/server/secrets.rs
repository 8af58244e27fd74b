//! Secrets of the operator, which calls name and never hold: `secret://NAME` stands for a value that no model sees.
//!
//! A name is good for the tenants, tools and hosts that the operator bound it to. The value takes its place in the last layer
//! of the client, after audit, trace and cache; what a call holds of secrets itself is refused.

mod places;

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use crate::api::{Entry, FieldError, catalogue};
use crate::auth::Caller;
use crate::config::SecretEntry;
use crate::error::{Error, Kind, Result};

pub(crate) use places::CREDENTIALS;
use places::{Held, SCHEME};

/// Stands for every tenant or host.
const ANY: &str = "*";
/// Largest value, in bytes.
const MAX_VALUE: u64 = 64 * 1024;

/// The operator's secrets, by name.
#[derive(Debug, Default)]
pub struct Secrets(BTreeMap<String, SecretEntry>);

impl Secrets {
    /// Those that the configuration binds. Values are read when they are used.
    ///
    /// # Errors
    /// A name that is none, a tool that does not exist or takes no credentials, or an entry that binds to nothing.
    pub fn new(entries: &BTreeMap<String, SecretEntry>) -> Result<Self> {
        for (name, entry) in entries {
            let wrong = |what: String| {
                Error::configuration(Kind::Invalid, "FM-CONFIG-SECRET", format!("secrets.{name} {what}"))
                    .hint("Bind it by tenants, operations and hosts, such as hosts = [\"crm.example.com\"].")
            };
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
                return Err(wrong("has a name of other characters than letters, digits, - and _".to_owned()));
            }
            for (field, list) in [("tenants", &entry.tenants), ("operations", &entry.operations), ("hosts", &entry.hosts)] {
                if list.is_empty() {
                    return Err(wrong(format!("has no {field}, so that it is good for nothing")));
                }
            }
            if let Some(operation) = entry.operations.iter().find(|name| !catalogue().get(name).is_some_and(takes_credentials)) {
                return Err(wrong(format!("is bound to {operation:?}, which is not a tool that takes credentials")));
            }
        }
        Ok(Self(entries.clone()))
    }

    /// The secrets that a call names, by the places where they belong in its arguments.
    pub(crate) fn of_call(&self, caller: &Caller, entry: &Entry, arguments: &Map<String, Value>) -> Result<Vec<(String, SecretString)>> {
        let places = places::of(arguments);
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let hosts = self.hosts_in(caller, entry, arguments);
        let (mut found, mut faults) = (Vec::new(), Vec::new());
        for (pointer, held) in places {
            let told = match held {
                Held::Name(name) => match self.allowed(caller, entry, &hosts, name) {
                    Ok(secret) => {
                        found.push((pointer, name, secret));
                        continue;
                    }
                    Err(reason) => reason,
                },
                Held::Secret => "takes the name of a secret, `secret://NAME`, and never the secret itself".to_owned(),
                Held::InAddress => {
                    "holds a secret; the whole text is a secret then, `secret://NAME`, or the password goes into `credentials`".to_owned()
                }
            };
            faults.push(FieldError::new(pointer, "secret", told));
        }
        if !faults.is_empty() {
            return Err(Error::new(Kind::Invalid, "FM-MCP-SECRET", "the call holds a secret, or names one that it may not use")
                .with_fields(faults)
                .hint(self.offer(caller, entry)));
        }
        found.into_iter().map(|(pointer, name, secret)| Ok((pointer, value_of(name, secret)?))).collect()
    }

    /// The entry of a name, or why the call may not use it. Another tenant's is as unknown as one that is not there.
    fn allowed(&self, caller: &Caller, entry: &Entry, hosts: &BTreeSet<String>, name: &str) -> Result<&SecretEntry, String> {
        let secret = self.known(caller, name).ok_or("names a secret that there is not")?;
        if !secret.operations.iter().any(|operation| operation == entry.spec.name) {
            return Err(format!("names a secret that is not for {}", entry.spec.name));
        }
        if secret.hosts.iter().any(|host| host == ANY) {
            return Ok(secret);
        }
        if hosts.is_empty() {
            return Err("names a secret that is for certain hosts, and the call does not say which host it is for".to_owned());
        }
        match hosts.iter().find(|host| !secret.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))) {
            Some(host) => Err(format!("names a secret that is not for the host {host:?}")),
            None => Ok(secret),
        }
    }

    /// The entry of a name in the caller's tenant.
    fn known(&self, caller: &Caller, name: &str) -> Option<&SecretEntry> {
        let of_tenant = |secret: &&SecretEntry| secret.tenants.iter().any(|tenant| tenant == ANY || tenant == caller.tenant.as_str());
        self.0.get(name).filter(of_tenant)
    }

    /// The hosts that the platform will send secrets to, as the arguments say. What is not an address counts as a host: it is on
    /// no list. An address that is a secret itself leads where the operator wrote.
    fn hosts_in(&self, caller: &Caller, entry: &Entry, arguments: &Map<String, Value>) -> BTreeSet<String> {
        let host = |text: &str| Url::parse(text).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_else(|| text.to_owned());
        let within = |name: &str| {
            let secret = self.known(caller, name).filter(|secret| secret.operations.iter().any(|known| known == entry.spec.name))?;
            let value = value_of(name, secret).ok()?;
            // What is no address is never told, not even as a host that is not allowed.
            Url::parse(value.expose_secret()).ok()?.host_str().map(str::to_owned)
        };
        let hosts = places::addresses(arguments).into_iter().filter_map(|(text, is_place)| match text.strip_prefix(SCHEME) {
            Some(name) => within(name).or_else(|| is_place.then(|| text.to_owned())),
            None => Some(host(text)),
        });
        hosts.collect()
    }

    /// What the caller can do about a refusal.
    fn offer(&self, caller: &Caller, entry: &Entry) -> String {
        let is_for = |secret: &SecretEntry| {
            secret.tenants.iter().any(|tenant| tenant == ANY || tenant == caller.tenant.as_str())
                && secret.operations.iter().any(|operation| operation == entry.spec.name)
        };
        let names: Vec<&str> = self.0.iter().filter(|(_, secret)| is_for(secret)).map(|(name, _)| name.as_str()).take(20).collect();
        if names.is_empty() {
            return "Ask the person to have the operator add the secret to the server's configuration, [secrets.NAME]; then give secret://NAME."
                .to_owned();
        }
        format!(
            "These are for {}: {}. Others the operator adds to the server's configuration, [secrets.NAME].",
            entry.spec.name,
            names.join(", ")
        )
    }

    /// The names with whether a value is there, for the operator.
    pub fn states(&self) -> impl Iterator<Item = (&str, bool)> {
        self.0.iter().map(|(name, secret)| (name.as_str(), value_of(name, secret).is_ok()))
    }
}

/// Whether a tool takes credentials.
fn takes_credentials(entry: &Entry) -> bool {
    entry.spec.tool && entry.shape.input.get("properties").is_some_and(|properties| properties.get(CREDENTIALS).is_some())
}

/// The value of an entry: what its file holds, less the end of the line, else its variable.
fn value_of(name: &str, secret: &SecretEntry) -> Result<SecretString> {
    let unset = |reason: String| {
        Error::new(Kind::Unsupported, "FM-MCP-SECRET-UNSET", format!("the secret {name} has no value: {reason}"))
            .hint("Ask the person to tell the operator, who sets it.")
    };
    let unread = |error: std::io::Error| unset(format!("its file cannot be read ({})", error.kind()));
    let text = if let Some(file) = &secret.file {
        if std::fs::metadata(file).map_err(unread)?.len() > MAX_VALUE {
            return Err(unset(format!("its file is larger than {MAX_VALUE} bytes")));
        }
        std::fs::read_to_string(file).map_err(unread)?
    } else {
        let variable = variable_of(name);
        std::env::var(&variable).map_err(|_| unset(format!("{variable} is not set")))?
    };
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(unset("it is empty".to_owned()));
    }
    Ok(text.into())
}

/// The variable that holds the value of a secret without a file.
fn variable_of(name: &str) -> String {
    format!("FLOWMASTER_SECRET_{}", name.to_ascii_uppercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use secrecy::ExposeSecret as _;
    use serde_json::json;

    use super::*;
    use crate::auth::{CallerKind, Credential};

    fn caller(tenant: &str) -> Caller {
        let mut caller = Caller::owner(Credential::Owner);
        (caller.tenant, caller.kind) = (tenant.into(), CallerKind::User);
        caller
    }

    fn secrets(file: &std::path::Path) -> Secrets {
        let entry = SecretEntry {
            file: Some(file.to_owned()),
            tenants: vec!["acme".to_owned()],
            operations: vec!["integrations_create".to_owned()],
            hosts: vec!["crm.example.com".to_owned()],
        };
        Secrets::new(&BTreeMap::from([("crm-key".to_owned(), entry)])).unwrap()
    }

    #[test]
    fn a_name_is_good_for_the_tenant_the_tool_and_the_hosts_it_is_bound_to() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "hunter2-hunter2").unwrap();
        let secrets = secrets(file.path());
        let ask = |tenant: &str, tool: &str, arguments: Value| {
            let Value::Object(arguments) = arguments else { unreachable!() };
            secrets.of_call(&caller(tenant), catalogue().get(tool).unwrap(), &arguments)
        };
        let call = |url: &str, key: &str| json!({ "baseUrl": url, "credentials": { "apiKey": key, "header": "X-Key" } });
        let good = call("https://CRM.example.com/api", "secret://crm-key");
        let found = ask("acme", "integrations_create", good.clone()).unwrap();
        assert_eq!((found[0].0.as_str(), found[0].1.expose_secret()), ("/credentials/apiKey", "hunter2-hunter2"));
        for (tenant, tool, arguments, told) in [
            ("acme", "integrations_create", call("https://crm.example.com", "hunter2-hunter2"), "never the secret itself"),
            ("acme", "integrations_create", call("https://crm.example.com", "secret://other"), "there is not"),
            ("globex", "integrations_create", good.clone(), "there is not"),
            ("acme", "integrations_update", good, "not for integrations_update"),
            ("acme", "integrations_create", call("https://evil.example", "secret://crm-key"), "evil.example"),
            ("acme", "integrations_create", call("https://crm.example.com@evil.example", "secret://crm-key"), "evil.example"),
            ("acme", "integrations_create", json!({ "credentials": { "apiKey": "secret://crm-key" } }), "does not say which host"),
            (
                "acme",
                "integrations_create",
                json!({
                    "baseUrl": "https://crm.example.com",
                    "credentials": { "clientSecret": "secret://crm-key", "tokenUrl": "https://evil.example/token" },
                }),
                "evil.example",
            ),
        ] {
            let refused = ask(tenant, tool, arguments).unwrap_err();
            let said = format!("{refused} {:?}", refused.fields());
            assert!(refused.code() == "FM-MCP-SECRET" && said.contains(told) && !said.contains("hunter2"), "{told}: {said}");
        }
        assert_eq!(ask("acme", "integrations_update", json!({ "credentials": { "apiKey": null, "username": "ada" } })).unwrap().len(), 0);
    }

    #[test]
    fn a_sources_password_is_named_wherever_it_stands() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "postgres://ada:hunter2@db.example.com/sales").unwrap();
        let entry = |hosts: &str| SecretEntry {
            file: Some(file.path().to_owned()),
            tenants: vec!["*".to_owned()],
            operations: vec!["ingest_jobs_create".to_owned()],
            hosts: vec![hosts.to_owned()],
        };
        let entries = [("db", entry("db.example.com")), ("other", entry("other.example.com")), ("any", entry("*"))];
        let secrets = Secrets::new(&entries.into_iter().map(|(name, entry)| (name.to_owned(), entry)).collect()).unwrap();
        let ask = |config: Value| {
            let Value::Object(arguments) = json!({ "sourceType": "postgresql", "sourceConfig": config }) else { unreachable!() };
            secrets.of_call(&caller("acme"), catalogue().get("ingest_jobs_create").unwrap(), &arguments)
        };
        for (config, pointers) in [
            (json!({ "host": "db.example.com", "password": "secret://db" }), vec!["/sourceConfig/password"]),
            (json!({ "url": "secret://db" }), vec!["/sourceConfig/url"]),
            (json!({ "host": "db.example.com", "username": "secret://db" }), vec!["/sourceConfig/username"]),
            (json!({ "connectionString": "secret://any" }), vec!["/sourceConfig/connectionString"]),
            (
                json!({ "host": "db.example.com", "options": [{ "ssl": { "a/b": "secret://db" } }] }),
                vec!["/sourceConfig/options/0/ssl/a~1b"],
            ),
            (json!({ "host": "db.example.com", "query": "SELECT 1 WHERE password = 'x'", "content": "password=1" }), vec![]),
            (json!({ "host": "db.example.com", "credentials": { "username": "ada", "password": null } }), vec![]),
        ] {
            let found = ask(config.clone()).unwrap_or_else(|refused| panic!("{config}: {refused} {:?}", refused.fields()));
            assert_eq!(found.iter().map(|(pointer, _)| pointer.as_str()).collect::<Vec<_>>(), pointers, "{config}");
        }
        for (config, pointer, told) in [
            (json!({ "host": "db.example.com", "password": "hunter2" }), "/sourceConfig/password", "never the secret itself"),
            (json!({ "auth": { "api_key": 5 } }), "/sourceConfig/auth/api_key", "never the secret itself"),
            (json!({ "credentials": { "key": "hunter2" } }), "/sourceConfig/credentials/key", "never the secret itself"),
            (json!({ "url": "postgres://ada:hunter2@db.example.com" }), "/sourceConfig/url", "holds a secret"),
            (json!({ "brokers": ["Server=a;Pwd=hunter2"] }), "/sourceConfig/brokers/0", "holds a secret"),
            (json!({ "url": "secret://other" }), "/sourceConfig/url", "db.example.com"),
            (json!({ "url": "https://evil.example/", "password": "secret://db" }), "/sourceConfig/password", "evil.example"),
            (
                json!({ "server": "evil.example", "host": "db.example.com", "password": "secret://db" }),
                "/sourceConfig/password",
                "evil.example",
            ),
            (json!({ "password": "secret://db" }), "/sourceConfig/password", "does not say which host"),
        ] {
            let refused = ask(config.clone()).unwrap_err();
            let fault = &refused.fields()[0];
            assert_eq!((refused.code(), fault.pointer.as_str()), ("FM-MCP-SECRET", pointer), "{config}");
            assert!(fault.detail.contains(told) && !format!("{refused} {fault:?}").contains("hunter2"), "{config}: {}", fault.detail);
        }
    }

    #[test]
    fn entries_that_bind_to_nothing_are_refused() {
        let entry = |operations: &[&str], hosts: &[&str]| SecretEntry {
            file: None,
            tenants: vec!["*".to_owned()],
            operations: operations.iter().map(|name| (*name).to_owned()).collect(),
            hosts: hosts.iter().map(|name| (*name).to_owned()).collect(),
        };
        let refused = |name: &str, entry: SecretEntry| Secrets::new(&BTreeMap::from([(name.to_owned(), entry)])).unwrap_err().to_string();
        assert!(refused("key", entry(&["tasks_list"], &["*"])).contains("tasks_list"));
        assert!(refused("key", entry(&["integrations_create"], &[])).contains("hosts"));
        assert!(refused("a/b", entry(&["integrations_create"], &["*"])).contains("characters"));
        assert_eq!(variable_of("crm-key"), "FLOWMASTER_SECRET_CRM_KEY");
    }

    #[test]
    fn every_argument_of_a_tool_that_holds_secrets_is_one_that_is_looked_at() {
        for entry in catalogue().tools() {
            let properties = entry.shape.input.get("properties").and_then(Value::as_object);
            for name in properties.into_iter().flat_map(Map::keys).filter(|name| crate::api::secret::is_secret(name)) {
                assert_eq!(name, CREDENTIALS, "{}", entry.spec.name);
            }
        }
    }
}
