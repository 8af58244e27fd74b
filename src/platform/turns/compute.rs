//! Threads for what takes the processor long: off the async threads, and each tenant in its turn.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread;

use tokio::sync::oneshot;

use super::Turns;
use crate::error::{Error, Result};

/// How many jobs are done at once.
const THREADS: usize = 2;
/// Documents nest, and so do expressions.
const STACK: usize = 64 * 1024 * 1024;

type Job = Box<dyn FnOnce() + Send>;

/// The threads; they begin with the first job and end with this.
#[derive(Default)]
pub(crate) struct Compute {
    jobs: OnceLock<Arc<Turns<Job>>>,
}

impl Compute {
    /// Does a tenant's work when it is its turn. It is done even if nobody waits for the answer any more.
    pub(crate) async fn run<T: Send + 'static>(&self, tenant: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move || {
            let _ = answer.send(work());
        });
        self.jobs.get_or_init(begin).bring(tenant, job)?;
        answered.await.map_err(|_| Error::internal("a computation panicked"))
    }
}

impl Drop for Compute {
    fn drop(&mut self) {
        if let Some(jobs) = self.jobs.get() {
            jobs.close();
        }
    }
}

fn begin() -> Arc<Turns<Job>> {
    let jobs = Arc::new(Turns::<Job>::new(THREADS));
    for _ in 0..THREADS {
        let jobs = Arc::clone(&jobs);
        let work = move || {
            while let Some(mut turn) = jobs.next() {
                if let Some(job) = turn.job() {
                    // Whoever waits for the answer is told; the thread goes on.
                    let _ = catch_unwind(AssertUnwindSafe(job));
                }
            }
        };
        if let Err(error) = thread::Builder::new().name("platform-compute".to_owned()).stack_size(STACK).spawn(work) {
            tracing::error!(%error, "a thread for computations cannot be started");
        }
    }
    jobs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_answered_and_a_panic_ends_no_thread() {
        let compute = Compute::default();
        for _ in 0..5 {
            assert_eq!(compute.run("a", || panic!("no")).await.map(|never: u8| never).unwrap_err().code(), "FM-INTERNAL");
        }
        assert_eq!(compute.run("a", || 6 * 7).await.unwrap(), 42);
    }
}
