//! Who delivers what came in: a provider has no token and signs, as Standard Webhooks says, with the key of its channel.

use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use secrecy::{ExposeSecret as _, SecretString};

use super::{channels, credentials};
use crate::api::Permission;
use crate::api::communication::SERVICE;
use crate::auth::{Caller, CallerKind, Credential};
use crate::error::{Error, Kind, Result};
use crate::io::standard_webhooks;
use crate::platform::Platform;
use crate::platform::http::body;
use crate::platform::identity::Identity;

/// How far the time of a delivery may be from ours, in seconds.
const WINDOW: u64 = 5 * 60;
const MAX_ID: usize = 256;

/// Checks a delivery to a channel, and answers who it is from and the body that was signed.
pub(super) fn check(
    platform: Platform,
    headers: HeaderMap,
    channel: String,
    content: Body,
    most: usize,
) -> BoxFuture<'static, Result<(Identity, Bytes)>> {
    async move {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (id, signatures) = (text("webhook-id"), text("webhook-signature"));
        let timestamp: i64 = text("webhook-timestamp").parse().map_err(|_| unknown())?;
        if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(unknown());
        }
        let (tenant, secret) = key_of(&platform, channel.clone()).await?.ok_or_else(unknown)?;
        let key = standard_webhooks::key_of(secret.expose_secret()).map_err(Error::internal)?;
        let signed = body::bounded(SERVICE.code, content, most).await?;
        if !standard_webhooks::is_signed(&key, id, timestamp, &signed, signatures) {
            return Err(unknown());
        }
        if (platform.now().millis() / 1000).abs_diff(timestamp) > WINDOW {
            return Err(Error::new(Kind::Unauthenticated, "FM-COMMS-SIGNATURE-EXPIRED", "the delivery was not signed within five minutes")
                .hint("Sign it anew with the present time, under the same webhook-id; check the clocks."));
        }
        let caller = Caller {
            tenant: tenant.as_str().into(),
            subject: channel.clone(),
            roles: Vec::new(),
            permissions: Some(vec![Permission::CHANNEL_RECEIVE.name().to_owned()].into()),
            kind: CallerKind::Service,
            expires: None,
            credential: Credential::Verified,
        };
        Ok((Identity { caller, recorded_by: channel, session: None }, signed))
    }
    .boxed()
}

/// The tenant and the key of a channel.
async fn key_of(platform: &Platform, channel: String) -> Result<Option<(String, SecretString)>> {
    let reader = platform.clone();
    platform
        .database()
        .read(move |connection| {
            let Some(tenant) = channels::tenant_of(connection, &channel)? else { return Ok(None) };
            let secret = credentials::open(connection, &reader, &tenant, &channel)?.remove(credentials::WEBHOOK_SECRET);
            Ok(secret.map(|secret| (tenant, secret)))
        })
        .await
}

/// One answer to every cause, whether or not there is such a channel.
fn unknown() -> Error {
    Error::new(Kind::Unauthenticated, "FM-COMMS-SIGNATURE", "the delivery is not signed with the key of this channel")
        .hint("Sign with the signingSecret of channels_register: webhook-id, webhook-timestamp and webhook-signature.")
}
