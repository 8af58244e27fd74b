//! What a handler has at hand: the caller, the platform, the request, and the ways to read, write and page.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use rusqlite::Connection;

use crate::api::ids::TenantId;
use crate::api::{Page, PageRequest, Timestamp};
use crate::auth::Caller;
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::database::{Mark, Scope, Tx};
use crate::platform::identity::Session;

/// The context of one request.
#[derive(Clone)]
pub(crate) struct Cx {
    /// Who asks, verified.
    pub(crate) caller: Arc<Caller>,
    /// The platform.
    pub(crate) platform: Platform,
    /// The request.
    pub(crate) request_id: String,
    /// What the request's events go back to.
    pub(crate) correlation_id: Option<String>,
    /// The version that the caller believes to change.
    pub(crate) if_match: Option<String>,
    /// Whose token it is: the caller's own, or the service's that speaks for the caller.
    pub(crate) recorded_by: String,
    /// The login that the token belongs to, where there is one.
    pub(crate) session: Option<Session>,
    /// Digest of the list that is asked for: the operation and its arguments, less where and how long the page is.
    pub(crate) list: String,
    /// The headers that show who calls, for what is run on the caller's behalf.
    pub(crate) headers: HeaderMap,
    /// Where the request came from; nowhere if it was made within the platform.
    pub(crate) peer: Option<IpAddr>,
    /// The delivery that the request came by, where it was signed.
    pub(crate) webhook_id: Option<String>,
    /// Notes in the first transaction that the call was carried out.
    pub(crate) mark: Option<Arc<Mark>>,
}

impl Cx {
    /// Runs work in a transaction of the caller's.
    pub(crate) async fn write<T: Send + 'static>(&self, work: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static) -> Result<T> {
        self.platform.database().write(self.scope(), work).await
    }

    /// Runs work in a transaction that leaves nothing behind.
    pub(crate) async fn rehearse<T: Send + 'static>(&self, work: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static) -> Result<T> {
        self.platform.database().rehearse(self.scope(), work).await
    }

    /// Runs work that only reads.
    pub(crate) async fn read<T: Send + 'static>(&self, work: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
        self.platform.database().read_for(self.caller.tenant.as_str(), work).await
    }

    /// Does what takes the processor long, off the async threads and in the tenant's turn.
    pub(crate) async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        self.platform.compute().run(self.caller.tenant.as_str(), work).await
    }

    /// The present moment of the platform's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.platform.now()
    }

    /// The tenant of the caller.
    pub(crate) fn tenant(&self) -> TenantId {
        self.caller.tenant.clone()
    }

    /// Who writes in this request.
    pub(crate) fn scope(&self) -> Scope {
        Scope {
            tenant: self.caller.tenant.clone(),
            actor: self.caller.subject.clone(),
            recorded_by: self.recorded_by.clone(),
            request_id: Some(self.request_id.clone()),
            correlation_id: self.correlation_id.clone().or_else(|| Some(self.request_id.clone())),
            mark: self.mark.clone(),
        }
    }

    /// Where a list goes on: the text of the cursor that [`Cx::page_of`] made for the same list of the same tenant.
    pub(crate) fn cursor(&self, page: &PageRequest) -> Result<Option<String>> {
        page.cursor.as_deref().map(|cursor| self.open(cursor)).transpose()
    }

    /// Where a list goes on that is ordered by a number.
    pub(crate) fn cursor_number(&self, page: &PageRequest) -> Result<Option<i64>> {
        self.cursor(page)?.map(|text| text.parse().map_err(|_| foreign_cursor())).transpose()
    }

    /// A page of items that were asked for one more than fit; `key` tells where the next page begins after an item.
    pub(crate) fn page_of<T>(&self, mut items: Vec<T>, page: &PageRequest, key: impl Fn(&T) -> String) -> Page<T> {
        let more = items.len() > page.size();
        items.truncate(page.size());
        let next_cursor = if more { items.last().map(|last| self.seal(&key(last))) } else { None };
        Page { items, next_cursor }
    }

    /// Makes a cursor of a text.
    pub(crate) fn seal(&self, text: &str) -> String {
        URL_SAFE_NO_PAD.encode([&self.cursor_tag(text)[..], text.as_bytes()].concat())
    }

    /// The text of a cursor.
    fn open(&self, cursor: &str) -> Result<String> {
        URL_SAFE_NO_PAD
            .decode(cursor)
            .ok()
            .and_then(|bytes| {
                let (tag, text) = bytes.split_at_checked(16)?;
                let text = std::str::from_utf8(text).ok()?;
                crate::platform::keys::same(&self.cursor_tag(text), tag).then(|| text.to_owned())
            })
            .ok_or_else(foreign_cursor)
    }

    /// Binds a place to its list and its tenant.
    fn cursor_tag(&self, text: &str) -> [u8; 16] {
        self.platform.keys().tag(format!("{}\0{}\0{text}", self.caller.tenant, self.list).as_bytes())
    }
}

fn foreign_cursor() -> Error {
    Error::new(Kind::Invalid, "FM-AGS-CURSOR", "the cursor is not one that this list gave")
        .field("/cursor", "cursor", "is not a `nextCursor` of this list with the same filters and order")
        .hint("Repeat the other arguments of the page before, or leave `cursor` out to begin at the first page.")
}

/// Most bytes that the items of one page are read up to; the first item always fits.
const MAX_PAGE_BYTES: usize = 1024 * 1024;

/// Collects the rows of a page of large items, and answers with the page that they fill: it ends early where they are large.
pub(crate) fn within_bytes<T>(
    rows: impl Iterator<Item = Result<T>>,
    page: &PageRequest,
    size_of: impl Fn(&T) -> usize,
) -> Result<(Vec<T>, PageRequest)> {
    let (mut items, mut bytes) = (Vec::new(), 0);
    for row in rows {
        let item = row?;
        bytes += size_of(&item);
        items.push(item);
        if items.len() > 1 && bytes > MAX_PAGE_BYTES {
            let limit = u32::try_from(items.len() - 1).ok();
            return Ok((items, PageRequest { limit, ..page.clone() }));
        }
    }
    Ok((items, page.clone()))
}

/// Whether `If-Match` allows to change what has this ETag; 412 when it changed meanwhile. Absent allows.
pub(crate) fn matches(if_match: Option<&str>, etag: &str) -> Result<()> {
    let plain = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
    let Some(wanted) = if_match else { return Ok(()) };
    if wanted.trim() == "*" || wanted.split(',').any(|tag| plain(tag) == plain(etag)) {
        return Ok(());
    }
    Err(Error::new(Kind::Changed, "FM-AGS-CHANGED", format!("it changed meanwhile: its version is {etag}, not {}", wanted.trim()))
        .hint("Read it again, then repeat the change on what is there now."))
}

/// What a handler answers: the body and the headers that go with it.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    /// The body.
    pub(crate) body: T,
    /// The version, for `If-Match`.
    pub(crate) etag: Option<String>,
    /// Where what was created can be read.
    pub(crate) location: Option<String>,
}

impl<T> From<T> for Answer<T> {
    fn from(body: T) -> Self {
        Self { body, etag: None, location: None }
    }
}

impl<T> Answer<T> {
    /// With a version; quotes are added.
    pub(crate) fn etag(mut self, version: impl std::fmt::Display) -> Self {
        self.etag = Some(format!("\"{version}\""));
        self
    }

    /// With the place where it can be read.
    pub(crate) fn location(mut self, path: impl Into<String>) -> Self {
        self.location = Some(path.into());
        self
    }
}
