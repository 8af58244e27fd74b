//! What an announcement of an instance must be like.

use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::api::arguments::quote;
use crate::api::registry::Register;
use crate::error::{Error, Kind, Result};

/// The attribute that says where an instance tells its health.
pub(super) const HEALTH_PATH: &str = "healthPath";
const MAX_ATTRIBUTES: usize = 64;
const MAX_METADATA: usize = 8 * 1024;

/// Rejects an announcement that could not be routed to.
pub(super) fn check(request: &Register) -> Result<()> {
    if !is_label(&request.service_name) {
        return Err(fault("FM-SR-SERVICE-NAME", "/serviceName", "has lower-case letters, digits and `-`, such as process-design-service"));
    }
    let id = request.instance_id.as_str();
    if id.len() > 128 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)) {
        return Err(fault("FM-SR-INSTANCE-ID", "/instanceId", "has at most 128 letters, digits and `-_.:`, such as pds-1"));
    }
    if !is_host(&request.host) {
        return Err(fault("FM-SR-HOST", "/host", "is a host name or an IP address, without scheme, port or path"));
    }
    if request.version.as_deref().is_some_and(|version| semver::Version::parse(version).is_err()) {
        return Err(fault("FM-SR-VERSION", "/version", "is a semantic version, such as 1.2.0"));
    }
    request.metadata.as_ref().map_or(Ok(()), check_metadata)
}

fn check_metadata(metadata: &Map<String, Value>) -> Result<()> {
    let size = serde_json::to_vec(metadata).map_err(Error::internal)?.len();
    if metadata.len() > MAX_ATTRIBUTES || size > MAX_METADATA {
        let limit = format!("has at most {MAX_ATTRIBUTES} attributes and {} KiB", MAX_METADATA / 1024);
        return Err(fault("FM-SR-METADATA", "/metadata", &limit));
    }
    let is_path = |path: &Value| path.as_str().is_some_and(|path| path.starts_with('/') && !path.contains(['\r', '\n']));
    match metadata.get(HEALTH_PATH) {
        Some(path) if !is_path(path) => Err(fault("FM-SR-METADATA", "/metadata/healthPath", "is a path such as /livez")),
        _ => Ok(()),
    }
}

fn fault(code: &'static str, pointer: &str, detail: &str) -> Error {
    let field = quote(pointer.trim_start_matches('/'));
    Error::new(Kind::Invalid, code, format!("{field} of the instance is not valid")).field(pointer, "format", detail)
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_host(host: &str) -> bool {
    if host.parse::<IpAddr>().is_ok() {
        return true;
    }
    let host = host.to_ascii_lowercase();
    // A last part of digits is a mistyped IPv4 address.
    let is_number = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    host.len() <= 253 && !is_number && host.split('.').all(|label| label.len() <= 63 && is_label(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_from_addresses_with_more_in_them() {
        for host in ["pds-1.internal", "PDS", "10.0.0.7", "::1", "localhost", "a1.b2"] {
            assert!(is_host(host), "{host}");
        }
        for host in ["", ".", "a..b", "-a", "a-", "a_b", "http://a", "a:80", "a/b", "10.0.0", "1.2.3.999", "[::1]", "a b"] {
            assert!(!is_host(host), "{host}");
        }
        assert!(!is_host(&"a".repeat(64)) && !is_host(&"a.".repeat(200)));
    }
}
