//! Sends rows that wait to the platform's audit service, by the server's own account, in their order within a tenant.
//!
//! A row is sent until the platform has it: its id is its Idempotency-Key. What the platform will never take goes to a
//! file of its own, so that one tenant without an account does not hold up the others.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use serde_json::{Map, Value};
use tokio::sync::{Notify, mpsc, oneshot};

use super::keep::{Shared, append_only};
use super::row::Row;
use super::spool::{Batch, Spool, undelivered_in};
use crate::api::audit::{Changes, Log};
use crate::api::ids::TenantId;
use crate::api::{Entry, Operation as _, catalogue};
use crate::auth::{Caller, CallerKind, Credential};
use crate::client::{CallOptions, Client};
use crate::error::{Error, Kind, Result};

/// How long a row may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// How often files of dead processes are looked for.
const ADOPTION: Duration = Duration::from_mins(1);
/// How many tenants are sent to at once.
const TENANTS: usize = 8;
/// The most that is kept of what the platform will not take, in bytes.
const UNDELIVERED: u64 = 64 * 1024 * 1024;

/// The code of a tenant that the server has no account in; nothing but another configuration changes that.
const NO_ACCOUNT: &str = "FM-MCP-NO-ACCOUNT";
/// How codes begin that no platform gives.
const OWN_CODES: [&str; 3] = ["FM-MCP-", "FM-PLATFORM-", "FM-INTERNAL"];

/// Sends what waits until it is dropped.
pub(super) struct Shipper {
    pub(super) client: Client,
    pub(super) spool: Shared,
    pub(super) data_dir: PathBuf,
    /// The pause after the first failure; it doubles.
    pub(super) pause: Duration,
    /// Told when there is something new.
    pub(super) woken: Arc<Notify>,
    /// Those who want to know when nothing waits any longer, or nothing can be sent now.
    pub(super) waiting: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    /// Those of them who asked before the spool was last looked into.
    pub(super) asked: Vec<oneshot::Sender<()>>,
}

/// What came of a row.
enum Fate {
    Delivered,
    /// The platform will never take it, and this is why.
    Undeliverable(String),
    /// It may be taken later.
    Later(Option<Duration>),
}

impl Shipper {
    pub(super) async fn run(mut self) {
        let mut adopted = Instant::now();
        loop {
            if adopted.elapsed() >= ADOPTION {
                adopted = Instant::now();
                self.blocking(Spool::adopt).await;
            }
            while let Ok(waiting) = self.waiting.try_recv() {
                self.asked.push(waiting);
            }
            match self.blocking(Spool::next).await.transpose() {
                Ok(Some(Some(batch))) => self.ship(batch).await,
                Ok(_) => {
                    if self.release() {
                        self.blocking(Spool::tidy).await;
                    }
                    self.rest(ADOPTION).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "rows of the record cannot be read");
                    self.release();
                    self.rest(ADOPTION).await;
                }
            }
        }
    }

    /// Sends a batch, however long it takes.
    async fn ship(&mut self, batch: Batch) {
        let mut by_tenant: HashMap<Option<TenantId>, Vec<Row>> = HashMap::new();
        let home = self.client.upstream().home();
        for row in &batch.rows {
            let tenant = row.tenant.as_deref().map(TenantId::from).or_else(|| home.clone());
            by_tenant.entry(tenant).or_default().push(row.clone());
        }
        // Nobody's rows have no place at the platform where the server's account has no tenant.
        for row in by_tenant.remove(&None).unwrap_or_default() {
            self.put_aside(row, "FM-MCP-NO-ACCOUNT: it is of no tenant, and neither is the server's account".to_owned()).await;
        }
        let mut left: Vec<(TenantId, Vec<Row>)> = by_tenant.into_iter().filter_map(|(tenant, rows)| Some((tenant?, rows))).collect();
        let mut pause = self.pause;
        loop {
            let sent: Vec<_> = futures_util::stream::iter(left.drain(..).map(|(tenant, rows)| self.deliver(tenant, rows)))
                .buffer_unordered(TENANTS)
                .collect()
                .await;
            let mut wanted = None;
            for (tenant, rows, after) in sent {
                if !rows.is_empty() {
                    wanted = wanted.max(after);
                    left.push((tenant, rows));
                }
            }
            if left.is_empty() {
                break;
            }
            self.release();
            self.rest_fully(wanted.unwrap_or_default().max(pause).min(LONGEST_PAUSE)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.blocking(move |spool| {
            if let Err(error) = spool.sent(&batch) {
                tracing::warn!(%error, "what was sent of the record may be sent again");
            }
        })
        .await;
    }

    /// Sends a tenant's rows; gives those that have to wait, and for how long at least.
    async fn deliver(&self, tenant: TenantId, rows: Vec<Row>) -> (TenantId, Vec<Row>, Option<Duration>) {
        let account = Arc::new(account_in(tenant.clone()));
        let mut rows = rows.into_iter();
        while let Some(row) = rows.next() {
            match self.send(&account, &row).await {
                Fate::Delivered => {}
                Fate::Undeliverable(reason) => self.put_aside(row, reason).await,
                Fate::Later(after) => return (tenant, std::iter::once(row).chain(rows).collect(), after),
            }
        }
        (tenant, Vec::new(), None)
    }

    /// Keeps a row that the platform will not take.
    async fn put_aside(&self, row: Row, reason: String) {
        let data_dir = self.data_dir.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || set_aside(&data_dir, &row, &reason)).await {
            tracing::warn!(%error, "a row of the record that the platform does not take is lost");
        }
    }

    async fn send(&self, account: &Arc<Caller>, row: &Row) -> Fate {
        let Ok((entry, arguments)) = request_of(row) else { return Fate::Undeliverable("FM-INTERNAL".to_owned()) };
        let options = CallOptions { idempotency_key: Some(row.id.clone()), deadline: Some(PATIENCE), ..CallOptions::default() };
        match self.client.call(account, entry, arguments, options).await {
            Ok(_) => Fate::Delivered,
            Err(error) => fate_of(&error),
        }
    }

    /// Tells those who asked that there is nothing to wait for; whether anybody did.
    fn release(&mut self) -> bool {
        let any = !self.asked.is_empty();
        for waiting in self.asked.drain(..) {
            // Whoever asked may have gone.
            let _told = waiting.send(());
        }
        any
    }

    /// Waits until there is something to do, or a time is over.
    async fn rest(&self, most: Duration) {
        // Whoever comes in between leaves a permit behind.
        let _over = tokio::time::timeout(most, self.woken.notified()).await;
    }

    /// Waits, though there may be something to do; those who ask meanwhile hear at once that nothing can be sent now.
    async fn rest_fully(&mut self, time: Duration) {
        let over = tokio::time::sleep(time);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return,
                waiting = self.waiting.recv() => match waiting {
                    Some(waiting) => {
                        self.asked.push(waiting);
                        self.release();
                    }
                    None => return,
                },
            }
        }
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&mut Spool) -> T + Send + 'static) -> Option<T> {
        let spool = Arc::clone(&self.spool);
        tokio::task::spawn_blocking(move || spool.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(work)).await.ok().flatten()
    }
}

/// The server's own account.
fn account_in(tenant: TenantId) -> Caller {
    Caller {
        tenant,
        subject: "flowmaster-mcp".to_owned(),
        roles: Vec::new(),
        permissions: None,
        kind: CallerKind::Service,
        expires: None,
        credential: Credential::Service,
    }
}

/// A row as the audit service takes it.
fn request_of(row: &Row) -> Result<(&'static Entry, Map<String, Value>)> {
    let entry = catalogue().get(Log::SPEC.name).ok_or_else(|| Error::internal("there is no audit service"))?;
    let Value::Object(mut after) = serde_json::to_value(row).map_err(Error::internal)? else {
        return Err(Error::internal("a row is no object"));
    };
    for said_elsewhere in ["at", "action", "tenant", "subject", "resourceType", "resource"] {
        after.remove(said_elsewhere);
    }
    let log = Log {
        actor: row.subject.clone(),
        action: row.action.name().to_owned(),
        resource_type: row.resource_type.clone(),
        resource_id: row.resource.clone(),
        changes: Some(Changes { before: None, after: Some(after) }),
        timestamp: Some(row.at),
    };
    match serde_json::to_value(log).map_err(Error::internal)? {
        Value::Object(arguments) => Ok((entry, arguments)),
        _ => Err(Error::internal("a request is no object")),
    }
}

fn fate_of(error: &Error) -> Fate {
    match error.kind() {
        // It was carried out; only its answer is gone.
        Kind::Conflict if error.code() == "FM-AGS-IDEMPOTENCY-ANSWER-LOST" => Fate::Delivered,
        _ if error.is_transient() => Fate::Later(error.when_to_retry()),
        // It was found on this side that nothing can be sent: the platform has not judged the row.
        _ if error.code() != NO_ACCOUNT && OWN_CODES.iter().any(|own| error.code().starts_with(own)) => Fate::Later(None),
        // The operator can put these right, and the rows are worth the wait.
        Kind::Unauthenticated | Kind::BadAnswer | Kind::Internal | Kind::Cancelled => Fate::Later(None),
        _ => Fate::Undeliverable(format!("{}: {}", error.code(), error.message())),
    }
}

/// Keeps a row that the platform will not take, with the reason.
fn set_aside(data_dir: &Path, row: &Row, reason: &str) -> std::io::Result<()> {
    let path = undelivered_in(data_dir);
    let mut file = append_only(&path)?;
    if file.metadata()?.len() > UNDELIVERED {
        return Err(std::io::Error::other("too many rows were set aside already"));
    }
    tracing::debug!(reason, "the platform does not take a row of the record");
    let mut line = serde_json::to_vec(&serde_json::json!({ "reason": reason, "row": row }))?;
    line.push(b'\n');
    file.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::audit::row::{Action, Transport};

    #[test]
    fn a_row_becomes_an_entry_that_the_platform_would_take() {
        let mut row = Row::new(Action::Refused, None, Transport::Http, "endpoint", "/mcp");
        "FM-MCP-TOKEN-EXPIRED".clone_into(&mut row.outcome);
        let (entry, arguments) = request_of(&row).unwrap();
        assert_eq!(arguments["actor"], "anonymous");
        assert_eq!(arguments["changes"]["after"]["outcome"], "FM-MCP-TOKEN-EXPIRED");
        assert_eq!(arguments["changes"]["after"]["id"], row.id);
        let mut arguments = Value::Object(arguments);
        entry.check(&mut arguments, crate::api::check::Reading::Strict).unwrap();
    }

    #[test]
    fn what_may_pass_waits_and_what_cannot_is_set_aside() {
        let fate = |kind, code: &'static str| fate_of(&Error::new(kind, code, "x"));
        for kind in [Kind::Unavailable, Kind::Timeout, Kind::RateLimited, Kind::Unauthenticated, Kind::Internal] {
            assert!(matches!(fate(kind, "X"), Fate::Later(_)), "{kind:?}");
        }
        for kind in [Kind::Forbidden, Kind::NotFound, Kind::Invalid, Kind::Malformed, Kind::Conflict] {
            assert!(matches!(fate(kind, "X"), Fate::Undeliverable(_)), "{kind:?}");
        }
        assert!(matches!(fate(Kind::Forbidden, "FM-MCP-NO-ACCOUNT"), Fate::Undeliverable(_)));
        assert!(matches!(fate(Kind::Forbidden, "FM-PLATFORM-FOLDER-MODE"), Fate::Later(_)), "the platform did not even hear of it");
        assert!(matches!(fate(Kind::Conflict, "FM-AGS-IDEMPOTENCY-ANSWER-LOST"), Fate::Delivered));
    }
}
