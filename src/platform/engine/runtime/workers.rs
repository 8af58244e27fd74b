//! The worker of a kind of node work: has its service do what is due, and keeps how each piece ended together with what the
//! service notes of it.
//!
//! An end is kept after the work was done. A crash in between repeats the work under the same id, and never loses it.

use tokio::sync::watch;

use super::alarms;
use super::work::{self, End, Work, WorkId, WorkKind};
use crate::error::Result;
use crate::platform::Platform;
use crate::platform::database::{Scope, Tx};
use crate::platform::engine::Engine;
use crate::platform::queue::{self, Job, Queue, Rows};

/// An attempt that ended, and what its service writes in the transaction that resumes the execution.
pub(crate) struct Done {
    end: End,
    notes: Option<Notes>,
    wake: Option<fn(&Platform)>,
}

type Notes = Box<dyn FnOnce(&mut Tx<'_>) -> Result<()> + Send>;

impl Done {
    /// An attempt without anything to note.
    pub(crate) fn new(end: End) -> Self {
        Self { end, notes: None, wake: None }
    }

    /// Writes this in the same transaction, even if the execution has ended meanwhile: the work was done all the same.
    pub(crate) fn noting(mut self, notes: impl FnOnce(&mut Tx<'_>) -> Result<()> + Send + 'static) -> Self {
        self.notes = Some(Box::new(notes));
        self
    }

    /// Wakes whoever goes on with what was noted, once it is kept.
    pub(crate) fn waking(mut self, wake: fn(&Platform)) -> Self {
        self.wake = Some(wake);
        self
    }
}

/// Has a service do the work of a kind until the platform stops.
pub(crate) async fn serve<P, F>(platform: Platform, kind: WorkKind, perform: P)
where
    P: Fn(Platform, Work) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Done> + Send + 'static,
{
    // Whatever hands work over or lets an execution go on emits an event.
    let committed = platform.events_notify();
    queue::run(platform, OfNodes { kind, perform, committed }).await;
}

/// Work of a kind that waits for its next attempt.
#[derive(Clone)]
struct OfNodes<P> {
    kind: WorkKind,
    perform: P,
    committed: watch::Receiver<i64>,
}

impl<P, F> Queue for OfNodes<P>
where
    P: Fn(Platform, Work) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Done> + Send + 'static,
{
    const AT_ONCE: usize = 16;
    const OF_ONE_TENANT: usize = 8;

    fn rows(&self) -> Rows {
        Rows { what: "works of nodes", table: "node_work", id: "id", due: "next_attempt_at", waiting: self.kind.waiting().into() }
    }

    async fn woken(&mut self, platform: &Platform) {
        if self.committed.changed().await.is_err() {
            platform.stopping().cancelled().await;
        }
    }

    async fn work(&self, platform: &Platform, job: Job) -> Result<()> {
        let name = WorkId { tenant: job.tenant, id: job.id };
        let begun = name.clone();
        let system = Scope::system(name.tenant.clone().into());
        let Some(work) = platform.database().write(system.clone(), move |tx| work::begin(tx, &begun)).await? else { return Ok(()) };
        // What the platform does by itself goes back to the execution.
        let scope = Scope { correlation_id: Some(work.execution.clone()), ..system };
        let done = tokio::select! {
            biased;
            () = platform.stopping().cancelled() => return Ok(()),
            done = (self.perform)(platform.clone(), work) => done,
        };
        let Done { end, notes, wake } = done;
        let kept = platform.database().write(scope, move |tx| {
            if let Some(notes) = notes {
                notes(tx)?;
            }
            Engine::new(tx).worked(&name, end)
        });
        let kept = kept.await;
        if let Some(wake) = wake.filter(|_| kept.is_ok()) {
            wake(platform);
        }
        alarms::changed(platform);
        kept
    }
}
