//! A request's body: bounded in size and depth before it is parsed.

use std::sync::LazyLock;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use http::{HeaderMap, header};
use serde_json::{Map, Value};

use crate::api::operation::MAX_BODY;
use crate::error::{Error, Kind, Result};
use crate::io::extent::{Extent, extent};
use crate::io::inbound::{self, Unread};
use crate::io::numbers::first_inexact;
use crate::platform::Platform;
use crate::platform::turns::gate::Gate;

/// How deep its JSON may be nested.
pub(crate) const MAX_DEPTH: usize = 64;
/// Most JSON values in it: each takes far more memory than the byte or two that it may be written with.
const MAX_VALUES: usize = 200_000;
/// Bodies with files that are received at once in this process.
static LARGE_BODIES: LazyLock<Gate> = LazyLock::new(|| Gate::new(4));
/// How long a large body waits for its turn.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Reads a tenant's body as a JSON object; an empty one is an object without fields.
pub(crate) async fn object(
    service: &'static str,
    platform: &Platform,
    tenant: &str,
    headers: &HeaderMap,
    body: Body,
    most: usize,
) -> Result<Map<String, Value>> {
    // A body is announced by its length, or may be as large as it likes.
    let small = body.size_hint().upper().is_some_and(|length| length <= MAX_BODY as u64);
    let _place = if small || most <= MAX_BODY { None } else { Some(LARGE_BODIES.pass(tenant, MAX_WAIT).await?.ok_or_else(busy)?) };
    let bytes = bounded(service, body, most).await?;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    if let Some(media_type) = headers.get(header::CONTENT_TYPE) {
        let media_type = media_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if media_type != "application/json" && !media_type.ends_with("+json") {
            return Err(Error::new(Kind::MediaType, "FM-AGS-MEDIA-TYPE", "the body is not declared as JSON")
                .hint("Send JSON with Content-Type: application/json."));
        }
    }
    if bytes.len() <= MAX_BODY {
        return parse(service, &bytes);
    }
    platform.compute().run(tenant, move || parse(service, &bytes)).await?
}

/// Reads a body of so many bytes at most.
pub(crate) async fn bounded(service: &'static str, body: Body, most: usize) -> Result<Bytes> {
    inbound::read_bounded(body, most).await.map_err(|unread| match unread {
        Unread::TooLarge => too_large(most),
        Unread::Broken(error) => malformed(service, "the body ended early").caused_by(error),
    })
}

/// Reads JSON as an object, bounded in depth, values and precision.
pub(crate) fn parse(service: &str, bytes: &[u8]) -> Result<Map<String, Value>> {
    let Extent { depth, values } = extent(bytes);
    if depth > MAX_DEPTH {
        return Err(malformed(service, format!("the body is nested more than {MAX_DEPTH} levels deep")));
    }
    if values > MAX_VALUES {
        return Err(Error::new(Kind::TooLarge, "FM-AGS-TOO-LARGE", format!("the body holds more than {MAX_VALUES} JSON values"))
            .hint("Send less at once."));
    }
    if let Some(inexact) = first_inexact(bytes) {
        return Err(Error::new(Kind::Invalid, format!("FM-{service}-NUMBER"), "a number would be rounded").field(
            &*inexact.pointer,
            "number",
            inexact.fault(),
        ));
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(malformed(service, "the body must be a JSON object")),
        Err(error) => Err(malformed(service, format!("the body is not valid JSON: {error}"))),
    }
}

fn too_large(most: usize) -> Error {
    Error::new(Kind::TooLarge, "FM-AGS-TOO-LARGE", format!("the body is larger than {} KiB", most / 1024)).hint("Send less at once.")
}

fn busy() -> Error {
    Error::new(Kind::RateLimited, "FM-AGS-BUSY", "too many large bodies are received at once").retry_after(Duration::from_secs(2))
}

/// Makes the error of a request that cannot be read.
pub(crate) fn malformed(service: &str, message: impl Into<String>) -> Error {
    Error::new(Kind::Malformed, format!("FM-{service}-MALFORMED"), message)
}
