//! One call below an integration's address: method, URL and body.

use percent_encoding::percent_decode_str;
use reqwest::{Method, Url};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::store::Settings;
use crate::api::arguments::quote;
use crate::api::integrations::{ConnectorType, HttpMethod};
use crate::error::{Error, Kind, Result};
use crate::platform::outbound;

/// Most query parameters.
const MAX_QUERY: usize = 100;
const MAX_PATH: usize = 2_000;
/// Largest body, in bytes of JSON.
const MAX_BODY: usize = 1024 * 1024;

/// What is asked for, as calls and nodes say it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Asked {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) method: Option<HttpMethod>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) query: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<Map<String, Value>>,
}

/// A call that can be sent.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) body: Option<String>,
}

impl Prepared {
    /// Whether the call may be repeated without a key that its target understands.
    pub(super) fn is_idempotent(&self) -> bool {
        self.method.is_idempotent()
    }
}

impl Asked {
    /// The method: a webhook is posted to.
    pub(super) fn method(&self, settings: &Settings) -> HttpMethod {
        let usual = if settings.connector == ConnectorType::Webhook { HttpMethod::Post } else { HttpMethod::Get };
        self.method.clone().unwrap_or(usual)
    }

    /// The path as logs show it.
    pub(super) fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_default()
    }

    /// Puts the call together.
    pub(super) fn prepare(&self, settings: &Settings) -> Result<Prepared> {
        let method = match self.method(settings) {
            HttpMethod::Get => Method::GET,
            HttpMethod::Post => Method::POST,
            HttpMethod::Put => Method::PUT,
            HttpMethod::Patch => Method::PATCH,
            HttpMethod::Delete => Method::DELETE,
            HttpMethod::Other(other) => {
                let detail = format!("is {}; allowed are {}", quote(&other), HttpMethod::ALL.join(", "));
                return Err(refused("/method", "enum", detail));
            }
        };
        if settings.connector == ConnectorType::Webhook && method != Method::POST {
            return Err(refused("/method", "enum", "must be POST or absent: a webhook is posted to".to_owned()));
        }
        if method == Method::GET && self.body.is_some() {
            return Err(refused("/body", "method", "is for POST, PUT, PATCH and DELETE; set method".to_owned()));
        }
        let mut url = outbound::parse(&settings.base_url).map_err(Error::internal)?;
        self.extend_path(&mut url).map_err(|detail| refused("/path", "path", detail))?;
        self.extend_query(&mut url)?;
        let body = match (&self.body, &settings.connector) {
            (Some(body), _) => Some(serde_json::to_string(body).map_err(Error::internal)?),
            (None, ConnectorType::Webhook) => Some("{}".to_owned()),
            (None, _) => None,
        };
        if body.as_ref().is_some_and(|body| body.len() > MAX_BODY) {
            return Err(refused("/body", "length", format!("has more than {MAX_BODY} bytes")));
        }
        Ok(Prepared { method, url, body })
    }

    /// Appends the path; it never leaves the address that was registered.
    fn extend_path(&self, url: &mut Url) -> Result<(), String> {
        let Some(path) = self.path.as_deref().filter(|path| !path.is_empty()) else { return Ok(()) };
        if !path.starts_with('/') || path.starts_with("//") || path.len() > MAX_PATH {
            return Err(format!("begins with one slash, such as /contacts/42, and has at most {MAX_PATH} bytes"));
        }
        if path.contains(['?', '#', '\\']) || path.chars().any(char::is_control) {
            return Err("holds ?, #, \\ or control characters; parameters go into query".to_owned());
        }
        let decoded = percent_decode_str(path).decode_utf8().map_err(|_| "is not UTF-8 once decoded".to_owned())?;
        if decoded.split(['/', '\\']).any(|segment| matches!(segment, "." | "..")) {
            return Err("holds . or .. as a segment, which would leave the integration's address".to_owned());
        }
        let whole = format!("{}{path}", url.path().trim_end_matches('/'));
        url.set_path(&whole);
        Ok(())
    }

    fn extend_query(&self, url: &mut Url) -> Result<()> {
        let Some(query) = self.query.as_ref().filter(|query| !query.is_empty()) else { return Ok(()) };
        if query.len() > MAX_QUERY {
            return Err(refused("/query", "length", format!("has more than {MAX_QUERY} parameters")));
        }
        let mut pairs = url.query_pairs_mut();
        for (name, value) in query {
            let values = match value {
                Value::Null => continue,
                Value::Array(items) => items.iter().take(MAX_QUERY).collect(),
                one => vec![one],
            };
            for value in values {
                match value {
                    Value::String(text) => pairs.append_pair(name, text),
                    Value::Number(_) | Value::Bool(_) => pairs.append_pair(name, &value.to_string()),
                    _ => {
                        let pointer = format!("/query/{}", name.replace('~', "~0").replace('/', "~1"));
                        return Err(refused(&pointer, "type", "is text, a number, true, false, or a list of these".to_owned()));
                    }
                };
            }
        }
        Ok(())
    }
}

fn refused(pointer: &str, code: &str, detail: String) -> Error {
    Error::new(Kind::Invalid, "FM-IHS-REQUEST", format!("the call cannot be made: {} {detail}", pointer.trim_start_matches('/')))
        .field(pointer, code, detail)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::integrations::AuthType;

    fn url_of(asked: Value) -> Result<String, String> {
        let settings = Settings {
            name: "CRM".to_owned(),
            connector: ConnectorType::RestApi,
            base_url: "https://crm.example.com/api/v1/?tenant=7".to_owned(),
            auth: AuthType::None,
            mapping: Map::new(),
        };
        let asked: Asked = serde_json::from_value(asked).unwrap();
        asked.prepare(&settings).map(|prepared| prepared.url.to_string()).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_call_stays_below_the_registered_address() {
        let url = url_of(json!({ "path": "/contacts/42", "query": { "q": "a b&c", "ids": [1, 2], "no": null } })).unwrap();
        assert_eq!(url, "https://crm.example.com/api/v1/contacts/42?tenant=7&q=a+b%26c&ids=1&ids=2");
        assert_eq!(url_of(json!({})).unwrap(), "https://crm.example.com/api/v1/?tenant=7");
        for path in
            ["/../admin", "/a/%2e%2e/b", "/a/..%2fb", "//evil.example/", "https://evil.example/", "/a?x=1", "/a#b", "/a\\..\\b", "@evil"]
        {
            assert!(url_of(json!({ "path": path })).is_err(), "{path}");
        }
        assert!(url_of(json!({ "query": { "a": { "b": 1 } } })).is_err());
        assert!(url_of(json!({ "body": {} })).is_err());
        assert!(url_of(json!({ "method": "TRACE" })).is_err());
    }
}
