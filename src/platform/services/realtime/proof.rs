//! How a connection proves who it is, at its beginning and again while it lasts.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::api::Spec;
use crate::api::realtime::TOKEN_SUBPROTOCOL;
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::http::routes::authorise;
use crate::platform::identity::Identity;
use crate::platform::identity::authenticate::authenticate;

/// The headers that show who calls.
const NAMES: [HeaderName; 3] = [header::AUTHORIZATION, HeaderName::from_static("x-on-behalf-of"), HeaderName::from_static("x-tenant-id")];

/// See the module.
pub(super) struct Proof {
    spec: &'static Spec,
    headers: HeaderMap,
    path: Vec<(String, String)>,
}

impl Proof {
    /// The proof in the headers of a handshake. A browser can set none: it sends its token as a subprotocol.
    pub(super) fn of(spec: &'static Spec, headers: &HeaderMap, channel: &str) -> Result<Self> {
        let mut proof: HeaderMap = NAMES.into_iter().filter_map(|name| headers.get(&name).cloned().map(|value| (name, value))).collect();
        let protocols = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
        let token = protocols.flat_map(|value| value.split(',')).find_map(|protocol| protocol.trim().strip_prefix(TOKEN_SUBPROTOCOL));
        if let Some(token) = token {
            if proof.contains_key(header::AUTHORIZATION) {
                return Err(Error::new(
                    Kind::Malformed,
                    "FM-WGS-TWO-TOKENS",
                    "there is a token in the header and another in the subprotocol",
                )
                .hint("Send one of them."));
            }
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(Error::internal)?;
            value.set_sensitive(true);
            proof.insert(header::AUTHORIZATION, value);
        }
        Ok(Self { spec, headers: proof, path: vec![("channel".to_owned(), channel.to_owned())] })
    }

    /// Finds out who is connected, and whether they still may.
    pub(super) async fn identity(&self, platform: &Platform) -> Result<Identity> {
        let identity = authenticate(platform, &self.headers, self.spec, &self.path).await?;
        authorise(&self.headers, self.spec, &identity)?;
        Ok(identity)
    }
}
