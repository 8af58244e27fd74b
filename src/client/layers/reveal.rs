//! Puts the secrets that a call names into its body.
//!
//! It stands right before the call leaves, so that nothing before it holds them: no log, trace, cache or audit entry.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::client::call::{Call, EncodedRequest, Reply};
use crate::client::layer::{Layer, Next};
use crate::error::{Error, Result};

/// See the module.
pub(in crate::client) struct Reveal;

impl Layer for Reveal {
    fn call<'a>(&'a self, mut call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        Box::pin(async move {
            if !call.options.secrets.is_empty() {
                call.request = Arc::new(revealed(&call)?);
            }
            next.run(call).await
        })
    }
}

fn revealed(call: &Call) -> Result<EncodedRequest> {
    let mut body: Value = serde_json::from_slice(call.request.body.as_deref().unwrap_or_default()).map_err(Error::internal)?;
    for (pointer, secret) in &call.options.secrets {
        let place = body.pointer_mut(pointer).ok_or_else(|| Error::internal("a call has no place for the secret that it names"))?;
        *place = secret.expose_secret().into();
    }
    let body = serde_json::to_vec(&body).map_err(Error::internal)?.into();
    Ok(EncodedRequest { body: Some(body), ..(*call.request).clone() })
}
