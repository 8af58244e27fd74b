//! A file that is at an address: on this machine or a host that the operator allows, up to a bound.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::{Error, Kind, Result};
use crate::io::outbound::{self, Unread};
use crate::platform::Platform;
use crate::platform::outbound::{Target, client, innermost};

/// Largest file that is fetched, in bytes.
const MAX_FILE: usize = 25 * 1024 * 1024;
/// How long a file may take.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Refuses an address that may not be called, and answers it as it is kept.
pub(super) async fn admit(platform: &Platform, url: &str) -> Result<String> {
    match Target::examine(platform, url).await {
        Ok(target) => Ok(target.as_str().to_owned()),
        Err(detail) => Err(not_allowed("/sourceConfig/url", &detail)),
    }
}

/// The error of a place that may not be connected to; the detail completes a sentence about it.
pub(super) fn not_allowed(pointer: &str, detail: &str) -> Error {
    Error::new(Kind::Invalid, "FM-DCS-HOST", "the source is at a place that imports may not connect to")
        .field(pointer, "host", detail)
        .hint("Name a host of this machine, such as 127.0.0.1, or one that the operator allows.")
}

/// Fetches a file. Credentials: `token` is sent as a bearer token, `username` and `password` as basic authentication.
pub(super) async fn fetch(platform: &Platform, url: &str, credentials: &Map<String, Value>) -> Result<Vec<u8>> {
    let url = admit(platform, url).await?;
    let text = |name: &str| credentials.get(name).and_then(Value::as_str);
    let mut request = client(platform).map_err(|fault| unavailable(&fault))?.get(url).timeout(TIMEOUT);
    if let Some(token) = text("token") {
        request = request.bearer_auth(token);
    } else if let Some(username) = text("username") {
        request = request.basic_auth(username, text("password"));
    }
    let response = request.send().await.map_err(|error| {
        if error.is_timeout() { unavailable("the source did not answer in time") } else { unavailable(&innermost(&error)) }
    })?;
    let status = response.status();
    if !status.is_success() {
        let said = format!("the source answered {}", status.as_u16());
        return Err(if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
            unavailable(&said)
        } else {
            Error::new(Kind::Invalid, "FM-DCS-SOURCE", said).hint("Check the address and the credentials of the job.")
        });
    }
    match outbound::read_bounded(response, MAX_FILE).await {
        Ok(bytes) => Ok(bytes.to_vec()),
        Err(Unread::TooLarge) => {
            let message = format!("the file is larger than {} MiB", MAX_FILE / 1024 / 1024);
            Err(Error::new(Kind::TooLarge, "FM-DCS-TOO-LARGE", message).hint("Divide it, and import its parts."))
        }
        Err(Unread::Broken(error)) => Err(unavailable(&innermost(&error))),
    }
}

/// The error of a source that may be there later.
pub(super) fn unavailable(why: &str) -> Error {
    Error::new(Kind::Unavailable, "FM-DCS-SOURCE-UNAVAILABLE", format!("the source cannot be read now: {why}"))
        .hint("Check that the source runs; ingest_sources_test tries it.")
}
