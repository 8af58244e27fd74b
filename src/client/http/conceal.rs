//! Takes out of an answer what the server itself sent and nobody may read back: the token of the call, the caller's own, and
//! the secrets among its arguments. A platform, or something before it, may repeat them in an error.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::api::secret::is_secret;
use crate::auth::Credential;
use crate::client::call::Call;

/// What stands in the place of a secret.
const WITHHELD: &str = "[withheld]";
/// Shorter ones are left: they would be found in any text.
const SHORTEST: usize = 8;
/// How much of a secret is sought first, in bytes.
const BEGINNING: usize = 24;

/// The secrets of one call.
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// Those that a call carries.
    pub(super) fn of(call: &Call) -> Self {
        let sent = call.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let own = match &call.caller.credential {
            Credential::Bearer(token) => Some(token.expose_secret()),
            _ => None,
        };
        let mut secrets: Vec<String> = sent.into_iter().chain(own.filter(|own| Some(*own) != sent)).map(str::to_owned).collect();
        if let Some(Ok(body)) = call.request.body.as_ref().map(|body| serde_json::from_slice::<Value>(body)) {
            collect(&body, false, &mut secrets);
        }
        secrets.retain(|secret| secret.len() >= SHORTEST);
        Self(secrets)
    }

    /// The token that headers carry.
    pub(super) fn of_headers(headers: &HeaderMap) -> Self {
        let sent = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        Self(sent.filter(|token| token.len() >= SHORTEST).map(str::to_owned).into_iter().collect())
    }

    /// A body without them.
    pub(super) fn conceal(&self, body: Bytes) -> Bytes {
        let Ok(text) = std::str::from_utf8(&body) else { return body };
        if text.contains("\\u")
            && let Some(plain) = self.conceal_escaped(&body)
        {
            return plain;
        }
        match self.conceal_text(text) {
            Cow::Owned(text) => text.into(),
            Cow::Borrowed(_) => body,
        }
    }

    /// A text without them.
    pub(super) fn conceal_text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.0.iter().filter(|secret| holds(text, secret)).fold(Cow::Borrowed(text), |text, secret| text.replace(secret, WITHHELD).into())
    }

    /// How many bytes at the end of a text may be the beginning of one, which only what follows tells.
    pub(super) fn begun_at_end_of(&self, text: &str) -> usize {
        let begun = |secret: &String| (1..secret.len()).rev().find(|length| secret.get(..*length).is_some_and(|part| text.ends_with(part)));
        self.0.iter().filter_map(begun).max().unwrap_or_default()
    }

    /// JSON may write any letter as an escape.
    fn conceal_escaped(&self, body: &[u8]) -> Option<Bytes> {
        let plain = serde_json::from_slice::<Value>(body).ok()?.to_string();
        match self.conceal_text(&plain) {
            Cow::Owned(text) => Some(text.into()),
            Cow::Borrowed(_) => None,
        }
    }
}

/// Whether a text holds a secret. A long one is sought once its beginning is found: to seek it takes a preparation as long as
/// itself, which for a token is more than most answers are.
fn holds(text: &str, secret: &str) -> bool {
    let beginning = secret.get(..BEGINNING).unwrap_or(secret);
    text.contains(beginning) && text.contains(secret)
}

/// The texts below fields that hold secrets.
fn collect(value: &Value, secret: bool, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| collect(value, secret || is_secret(name), into)),
        Value::Array(items) => items.iter().for_each(|value| collect(value, secret, into)),
        Value::String(text) if secret => into.push(text.clone()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::call::CallOptions;
    use crate::client::layers::scripted::{call, user};

    #[test]
    fn what_was_sent_is_cut_out_wherever_it_stands() {
        let arguments = json!({ "name": "anna-maria", "connectorType": "rest_api", "baseUrl": "https://crm.example", "credentials": { "key": "sk-live-1234" } });
        let mut call = call(&user("anna", &[]), "integrations_create", &arguments, CallOptions::default());
        call.headers.insert(AUTHORIZATION, "Bearer eyJ0.token-of-anna.sig".parse().unwrap());
        let secrets = Secrets::of(&call);
        let seen = |text: &str| String::from_utf8(secrets.conceal(Bytes::copy_from_slice(text.as_bytes())).to_vec()).unwrap();
        assert_eq!(seen("no: Bearer eyJ0.token-of-anna.sig, key sk-live-1234!"), "no: Bearer [withheld], key [withheld]!");
        assert_eq!(seen(r#"{"detail":"\u0065yJ0.token-of-anna.sig"}"#), r#"{"detail":"[withheld]"}"#);
        for other in [r#"{"id":12345678901234567890,"é":"\u00e9"}"#, "anna-maria", "<html>"] {
            assert_eq!(seen(other), other);
        }
    }
}
