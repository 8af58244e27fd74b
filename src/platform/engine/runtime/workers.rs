//! The worker of a kind of node work: takes what is due from the database, has its service do a few pieces at once, and
//! keeps how each ended together with what the service notes of it.
//!
//! An end is kept after the work was done. A crash in between repeats the work under the same id, and never loses it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{Id, JoinSet};

use super::alarms;
use super::work::{self, End, Work, WorkId, WorkKind};
use crate::api::Timestamp;
use crate::error::Result;
use crate::platform::Platform;
use crate::platform::database::{Scope, Tx};
use crate::platform::engine::Engine;

/// How many pieces of work of a kind are under way at once.
const AT_ONCE: usize = 16;
/// How many of them may be of one tenant.
const OF_ONE_TENANT: usize = 8;
/// How long to wait after the database failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// An attempt that ended, and what its service writes in the transaction that resumes the execution.
pub(crate) struct Done {
    end: End,
    notes: Option<Notes>,
}

type Notes = Box<dyn FnOnce(&mut Tx<'_>) -> Result<()> + Send>;

impl Done {
    /// An attempt without anything to note.
    pub(crate) fn new(end: End) -> Self {
        Self { end, notes: None }
    }

    /// Writes this in the same transaction, even if the execution has ended meanwhile: the work was done all the same.
    pub(crate) fn noting(mut self, notes: impl FnOnce(&mut Tx<'_>) -> Result<()> + Send + 'static) -> Self {
        self.notes = Some(Box::new(notes));
        self
    }
}

/// Has a service do the work of a kind until the platform stops.
pub(crate) async fn serve<P, F>(platform: Platform, kind: WorkKind, perform: P)
where
    P: Fn(Platform, Work) -> F + Clone + Send + 'static,
    F: Future<Output = Done> + Send + 'static,
{
    // Whatever hands work over or lets an execution go on emits an event.
    let mut committed = platform.events_notify();
    let mut under_way = JoinSet::new();
    let mut busy: HashMap<Id, WorkId> = HashMap::new();
    while !platform.stopping().is_cancelled() {
        committed.mark_unchanged();
        let next = match look(&platform, kind, &busy).await {
            Ok((due, next)) => {
                for name in due {
                    let task = under_way.spawn(attempt(platform.clone(), name.clone(), perform.clone()));
                    busy.insert(task.id(), name);
                }
                next
            }
            Err(error) => {
                tracing::error!(%error, kind = kind.as_str(), "the work of nodes cannot be looked up");
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
        };
        let due = async {
            match next {
                Some(moment) => platform.clock().sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = platform.stopping().cancelled() => {}
            Ok(()) = committed.changed() => {}
            () = due => {}
            Some(done) = under_way.join_next_with_id() => {
                busy.remove(&done.map_or_else(|error| error.id(), |(task, ())| task));
            }
        }
    }
    // Those under way break off by themselves.
    while under_way.join_next().await.is_some() {}
}

/// What is due and not under way, as far as there is room, and when the next is.
async fn look(platform: &Platform, kind: WorkKind, busy: &HashMap<Id, WorkId>) -> Result<(Vec<WorkId>, Option<Timestamp>)> {
    let room = AT_ONCE.saturating_sub(busy.len());
    if room == 0 {
        return Ok((Vec::new(), None));
    }
    let now = platform.now();
    // What is under way is still due.
    let (due, next) = platform
        .database()
        .read(move |connection| Ok((work::due(connection, kind, now, 2 * OF_ONE_TENANT, 2 * AT_ONCE)?, work::next(connection, kind, now)?)))
        .await?;
    let mut by_tenant: HashMap<&str, usize> = HashMap::new();
    for name in busy.values() {
        *by_tenant.entry(&name.tenant).or_default() += 1;
    }
    let mut chosen = Vec::new();
    for name in due.iter().filter(|name| !busy.values().any(|taken| taken == *name)) {
        let of_tenant = by_tenant.entry(&name.tenant).or_default();
        if *of_tenant < OF_ONE_TENANT && chosen.len() < room {
            *of_tenant += 1;
            chosen.push(name.clone());
        }
    }
    Ok((chosen, next))
}

async fn attempt<P, F>(platform: Platform, name: WorkId, perform: P)
where
    P: Fn(Platform, Work) -> F,
    F: Future<Output = Done>,
{
    let begun = {
        let name = name.clone();
        platform.database().write(Scope::system(name.tenant.clone().into()), move |tx| work::begin(tx, &name)).await
    };
    let work = match begun {
        Ok(Some(work)) => work,
        Ok(None) => return,
        Err(error) => {
            tracing::error!(%error, work = name.id, "the work of a node cannot be begun");
            return tokio::time::sleep(RETRY_PAUSE).await;
        }
    };
    // What the platform does by itself goes back to the execution.
    let scope = Scope { correlation_id: Some(work.execution.clone()), ..Scope::system(name.tenant.clone().into()) };
    let done = tokio::select! {
        biased;
        () = platform.stopping().cancelled() => return,
        done = perform(platform.clone(), work) => done,
    };
    let id = name.id.clone();
    let kept = platform.database().write(scope, move |tx| {
        if let Some(notes) = done.notes {
            notes(tx)?;
        }
        Engine::new(tx).worked(&name, done.end)
    });
    if let Err(error) = kept.await {
        tracing::error!(%error, work = id, "the end of a node's work cannot be kept");
        tokio::time::sleep(RETRY_PAUSE).await;
    }
    alarms::changed(&platform);
}
