//! Authenticates a request: one bearer token in the one header for it, and a tenant that agrees with the token.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use super::admission::Admission;
use super::cors::OriginVerdict;
use super::refusal::{NO_TOKEN, Refusal, TOKEN_IN_QUERY, TOKEN_TWICE};
use super::{Authentication, approvals, expiry};
use crate::auth::{Caller, MAX_TOKEN};
use crate::error::{Error, Kind, Result};

/// The header in which platforms' clients name their tenant; here it can only agree with the token.
const TENANT: &str = "x-tenant-id";
/// Names under which tokens are put into URLs, where every log keeps them.
const IN_QUERIES: &[&str] = &["access_token", "api_key", "authorization", "bearer", "id_token", "jwt", "refresh_token", "token"];

/// Lets a request on with its caller, and ends what it began with the caller's token.
pub(super) async fn authenticate<F: Future<Output = Response>>(
    gate: &Admission,
    mut request: Request,
    next: impl FnOnce(Arc<Caller>, Request) -> F,
) -> Response {
    let endpoint = if request.uri().path().starts_with(approvals::PATH) { approvals::PATH } else { "/mcp" };
    let verdict = request.extensions_mut().remove::<OriginVerdict>();
    let caller = match known(gate, verdict, request.uri(), request.headers()).await {
        Ok(known) => known,
        Err(error) => return gate.refuse(None, Refusal::from(error).at(endpoint)),
    };
    if let Err(error) = same_tenant(&caller, request.headers()) {
        return gate.refuse(Some(&caller), Refusal::from(error).at(endpoint));
    }
    let end = expiry::deadline(&caller);
    // A stream alone outlives the request, and needs its token.
    let authorization = request.headers().get(AUTHORIZATION).cloned();
    let revocable = || gate.revocable(token_in(authorization?.as_bytes()).ok()?);
    request.extensions_mut().insert(Arc::clone(&caller));
    if let Authentication::Bearer(admit) = gate.authentication() {
        request.extensions_mut().insert(Arc::clone(admit));
    }
    tokio::select! {
        biased;
        response = next(Arc::clone(&caller), request) => expiry::bound(response, end, revocable),
        () = expiry::expired(end) => gate.refuse(Some(&caller), Refusal::from(expiry::ended()).at(endpoint)),
    }
}

/// The same before routes that are not the endpoint.
pub(super) async fn layer(State(gate): State<Admission>, request: Request, next: Next) -> Response {
    authenticate(&gate, request, |_, request| next.run(request)).await
}

/// The caller that a request proves.
async fn known(gate: &Admission, verdict: Option<OriginVerdict>, uri: &Uri, headers: &HeaderMap) -> Result<Arc<Caller>> {
    match verdict {
        Some(OriginVerdict(Ok(()))) => {}
        Some(OriginVerdict(Err(refused))) => return Err(refused.again()),
        None => return Err(Error::internal("a request came by no layer that judges its origin")),
    }
    no_token_in(uri)?;
    match gate.authentication() {
        Authentication::Open(caller) => Ok(Arc::clone(caller)),
        Authentication::Bearer(admit) => admit.admit(bearer(headers)?).await,
    }
}

/// The one bearer token of a request.
fn bearer(headers: &HeaderMap) -> Result<&str> {
    let mut given = headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    let value = match (given.next(), given.next()) {
        (Some(value), None) => value,
        (None, _) => {
            return Err(Error::new(Kind::Unauthenticated, NO_TOKEN, "a bearer token is needed")
                .hint("Send it as `Authorization: Bearer TOKEN`; `flowmaster-mcp token` prints the owner's on the embedded platform."));
        }
        _ => return Err(Error::new(Kind::Malformed, TOKEN_TWICE, "the request has several Authorization headers")),
    };
    token_in(value)
}

/// The token that an Authorization header holds.
fn token_in(value: &[u8]) -> Result<&str> {
    let malformed = || {
        Error::new(Kind::Unauthenticated, "FM-MCP-TOKEN-MALFORMED", "the Authorization header holds no bearer token")
            .hint("Send it as `Authorization: Bearer TOKEN`.")
    };
    let (scheme, token) = value.split_at_checked(7).ok_or_else(malformed)?;
    let token = token.trim_ascii();
    if !scheme.eq_ignore_ascii_case(b"bearer ") || token.is_empty() {
        return Err(malformed());
    }
    if token.len() > MAX_TOKEN {
        return Err(Error::new(Kind::Unauthenticated, "FM-MCP-TOKEN-TOO-LONG", format!("the token is longer than {MAX_TOKEN} bytes")));
    }
    // All of them in any case, so that several are looked at in one step.
    let is_graphic = token.iter().fold(true, |so_far, byte| so_far & byte.is_ascii_graphic());
    std::str::from_utf8(token).ok().filter(|_| is_graphic).ok_or_else(malformed)
}

/// A tenant that the request names must be the token's.
fn same_tenant(caller: &Caller, headers: &HeaderMap) -> Result<()> {
    if headers.get_all(TENANT).iter().all(|named| named.as_bytes() == caller.tenant.as_str().as_bytes()) {
        return Ok(());
    }
    Err(Error::new(Kind::Forbidden, "FM-MCP-TENANT-MISMATCH", "X-Tenant-Id names another tenant than the token")
        .hint("Leave the header out: the tenant comes from the token."))
}

/// No endpoint takes a token in its URL, and one that came that way may be known to others by now.
fn no_token_in(uri: &Uri) -> Result<()> {
    let is_token = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase();
        IN_QUERIES.contains(&name.as_str()) || value.starts_with("eyJ")
    };
    if uri.query().is_some_and(|query| query.split(['&', ';']).any(is_token)) {
        return Err(Error::new(Kind::Malformed, TOKEN_IN_QUERY, "the URL holds a token, which logs on the way may have kept")
            .hint("Send it as `Authorization: Bearer TOKEN`, and have this one revoked."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_the_url_is_seen_however_it_is_written() {
        for url in ["/mcp?access_token=x", "/mcp?a=1&TOKEN=x", "/mcp?access%5Ftoken=x", "/mcp?q=eyJhbGciOiJub25lIn0.e30.", "/mcp?bearer"] {
            assert_eq!(no_token_in(&url.parse().unwrap()).unwrap_err().code(), TOKEN_IN_QUERY, "{url}");
        }
        for url in ["/mcp", "/mcp?", "/mcp?a=1&b=tokens", "/mcp?q=token"] {
            no_token_in(&url.parse().unwrap()).unwrap();
        }
    }
}
