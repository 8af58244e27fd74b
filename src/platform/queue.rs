//! A queue of work: rows of a table that say when they are due, done a few at once by a worker, one of a tenant after one
//! of another, however many each has waiting.
//!
//! The rows are the queue, so that a restart loses none. What ends a piece of work takes its row out of the queue or gives
//! it a later time; until then it is due, and a crash repeats it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use rusqlite::Connection;
use tokio::task::{Id, JoinSet};

use crate::api::Timestamp;
use crate::error::Result;
use crate::platform::Platform;

/// How long to wait after the database failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What waits in a queue, and what is done with it.
pub(crate) trait Queue: Clone + Send + Sync + 'static {
    /// How many jobs are done at once.
    const AT_ONCE: usize;
    /// How many of them may be of one tenant.
    const OF_ONE_TENANT: usize;

    /// Where the jobs stand.
    fn rows(&self) -> Rows;

    /// Ends when a job may have come, or may have become due earlier than it was.
    fn woken(&mut self, platform: &Platform) -> impl Future<Output = ()> + Send;

    /// Does a job once and keeps how that ended. It breaks off when the platform stops.
    fn work(&self, platform: &Platform, job: Job) -> impl Future<Output = Result<()>> + Send;
}

/// The rows of a queue, as SQL says them.
pub(crate) struct Rows {
    /// What the log calls them.
    pub(crate) what: &'static str,
    /// The table; it has a column `tenant_id`.
    pub(crate) table: &'static str,
    /// What tells the jobs of a tenant apart: a text.
    pub(crate) id: &'static str,
    /// The time from which a job is due, in milliseconds.
    pub(crate) due: &'static str,
    /// Which rows wait. There is an index of them by tenant and time, and one by time.
    pub(crate) waiting: Cow<'static, str>,
}

/// A job of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) tenant: String,
    pub(crate) id: String,
}

/// Works until the platform stops.
pub(crate) async fn run(platform: Platform, mut queue: impl Queue) {
    let what = queue.rows().what;
    let mut working = JoinSet::new();
    let mut line = Line::default();
    while !platform.stopping().is_cancelled() {
        let next = match look(&platform, &queue, &mut line).await {
            Ok((chosen, next)) => {
                for job in chosen {
                    let task = working.spawn(attempt(platform.clone(), queue.clone(), job.clone()));
                    line.busy.insert(task.id(), job);
                }
                next
            }
            Err(error) => {
                tracing::error!(%error, "the queue of {what} cannot be read");
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
            () = queue.woken(&platform) => {}
            () = due => {}
            Some(done) = working.join_next_with_id() => {
                line.busy.remove(&done.map_or_else(|error| error.id(), |(task, ())| task));
            }
        }
    }
    // Those under way break off by themselves.
    while working.join_next().await.is_some() {}
}

async fn attempt<Q: Queue>(platform: Platform, queue: Q, job: Job) {
    let id = job.id.clone();
    if let Err(error) = queue.work(&platform, job).await {
        tracing::error!(%error, job = id, "the attempt of one of the {} cannot be kept", queue.rows().what);
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Who is being served.
#[derive(Default)]
struct Line {
    /// What is under way.
    busy: HashMap<Id, Job>,
    /// The tenant whose turn was last.
    last: String,
}

impl Line {
    fn of(&self, tenant: &str) -> usize {
        self.busy.values().filter(|job| job.tenant == tenant).count()
    }
}

/// The jobs whose turn it is, as far as there is room, and when the next is due.
async fn look<Q: Queue>(platform: &Platform, queue: &Q, line: &mut Line) -> Result<(Vec<Job>, Option<Timestamp>)> {
    let room = Q::AT_ONCE.saturating_sub(line.busy.len());
    if room == 0 {
        return Ok((Vec::new(), None));
    }
    let (rows, now, last) = (queue.rows(), platform.now(), line.last.clone());
    let read =
        move |connection: &Connection| Ok((rows.due(connection, now, &last, Q::AT_ONCE, Q::OF_ONE_TENANT)?, rows.next(connection, now)?));
    let (due, next) = platform.database().read(read).await?;
    Ok((choose(due, line, room, Q::OF_ONE_TENANT), next))
}

/// Takes one job of each tenant in turn, until there is no room or none has a share left.
fn choose(mut due: Vec<(String, Vec<String>)>, line: &mut Line, room: usize, of_one_tenant: usize) -> Vec<Job> {
    for (tenant, ids) in &mut due {
        // What is under way is still due.
        ids.retain(|id| !line.busy.values().any(|job| job.tenant == *tenant && job.id == *id));
        ids.truncate(of_one_tenant.saturating_sub(line.of(tenant)));
        ids.reverse();
    }
    let mut chosen = Vec::new();
    loop {
        let before = chosen.len();
        for (tenant, ids) in &mut due {
            if chosen.len() == room {
                return chosen;
            }
            if let Some(id) = ids.pop() {
                line.last.clone_from(tenant);
                chosen.push(Job { tenant: tenant.clone(), id });
            }
        }
        if chosen.len() == before {
            return chosen;
        }
    }
}

impl Rows {
    /// The first due jobs of tenants, those tenants first that come after the last one; enough to fill all places.
    fn due(&self, connection: &Connection, now: Timestamp, last: &str, places: usize, share: usize) -> Result<Vec<(String, Vec<String>)>> {
        // So many tenants can have their whole share under way, and so many others fill the places.
        let most = 2 * places;
        let mut tenants = self.tenants(connection, now, last, most)?;
        if tenants.len() < most && !last.is_empty() {
            let again = self.tenants(connection, now, "", most - tenants.len())?;
            tenants.extend(again.into_iter().take_while(|tenant| tenant.as_str() <= last));
        }
        let mut statement = connection.prepare_cached(&self.sql_of_jobs())?;
        tenants
            .into_iter()
            .map(|tenant| {
                let ids = statement.query_map((&tenant, now.millis(), bound(2 * share)), |row| row.get(0))?;
                let ids = ids.collect::<rusqlite::Result<_>>()?;
                Ok((tenant, ids))
            })
            .collect()
    }

    /// The next tenants with a job that is due, by name after one. Each is one step in the index, whatever it has waiting.
    fn tenants(&self, connection: &Connection, now: Timestamp, after: &str, most: usize) -> Result<Vec<String>> {
        let mut statement = connection.prepare_cached(&self.sql_of_tenants())?;
        let tenants = statement.query_map((after, now.millis(), bound(most)), |row| row.get(0))?;
        Ok(tenants.collect::<rusqlite::Result<_>>()?)
    }

    /// When the next job after a moment is due.
    fn next(&self, connection: &Connection, now: Timestamp) -> Result<Option<Timestamp>> {
        let next: Option<i64> = connection.prepare_cached(&self.sql_of_next())?.query_row([now.millis()], |row| row.get(0))?;
        Ok(next.map(Timestamp::from_millis))
    }

    fn sql_of_tenants(&self) -> String {
        let Self { table, due, waiting, .. } = self;
        let next =
            |after: &str| format!("(SELECT tenant_id FROM {table} WHERE {waiting} AND tenant_id > {after} ORDER BY tenant_id LIMIT 1)");
        format!(
            "WITH RECURSIVE tenants (tenant) AS (
                 SELECT {} UNION ALL SELECT {} FROM tenants WHERE tenant IS NOT NULL)
             SELECT tenant FROM tenants WHERE EXISTS (SELECT 1 FROM {table} WHERE {waiting} AND tenant_id = tenant AND {due} <= ?2) LIMIT ?3",
            next("?1"),
            next("tenant")
        )
    }

    fn sql_of_jobs(&self) -> String {
        let Self { table, id, due, waiting, .. } = self;
        format!("SELECT {id} FROM {table} WHERE {waiting} AND tenant_id = ?1 AND {due} <= ?2 ORDER BY {due} LIMIT ?3")
    }

    fn sql_of_next(&self) -> String {
        let Self { table, due, waiting, .. } = self;
        format!("SELECT min({due}) FROM {table} WHERE {waiting} AND {due} > ?1")
    }
}

fn bound(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: Rows = Rows { what: "letters", table: "letters", id: "id", due: "due_at", waiting: Cow::Borrowed("due_at IS NOT NULL") };

    fn letters(waiting: &[(&str, i64)]) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE letters (tenant_id TEXT NOT NULL, id TEXT NOT NULL, due_at INTEGER);
                 CREATE INDEX letters_queue ON letters (tenant_id, due_at) WHERE due_at IS NOT NULL;
                 CREATE INDEX letters_due ON letters (due_at) WHERE due_at IS NOT NULL;",
            )
            .unwrap();
        for (place, (tenant, due)) in waiting.iter().enumerate() {
            connection.execute("INSERT INTO letters VALUES (?1, ?2, ?3)", (tenant, format!("{tenant}{place:04}"), due)).unwrap();
        }
        connection
    }

    fn at(moment: i64) -> Timestamp {
        Timestamp::from_millis(moment)
    }

    /// Serves job by job, as if each ended at once, and answers whose they were.
    fn served(connection: &Connection, line: &mut Line, jobs: usize) -> String {
        let mut tenants = String::new();
        for _ in 0..jobs {
            let due = ROWS.due(connection, at(100), &line.last, 4, 2).unwrap();
            for job in choose(due, line, 1, 2) {
                connection.execute("DELETE FROM letters WHERE id = ?", [&job.id]).unwrap();
                tenants.push_str(&job.tenant);
            }
        }
        tenants
    }

    #[test]
    fn tenants_are_served_in_turn_whatever_each_has_waiting() {
        let flood = [("a", 1); 500];
        let connection = letters(&[&flood[..], &[("b", 50); 2], &[("c", 60)], &[("d", 200)]].concat());
        assert_eq!(served(&connection, &mut Line::default(), 7), "abcabaa");
        assert_eq!(ROWS.next(&connection, at(100)).unwrap(), Some(at(200)));
    }

    #[test]
    fn one_that_comes_late_waits_for_one_turn_of_each_other() {
        let connection = letters(&[&[("a", 1); 100][..], &[("b", 1); 100]].concat());
        let mut line = Line::default();
        assert_eq!(served(&connection, &mut line, 3), "aba");
        connection.execute("INSERT INTO letters VALUES ('z', 'z1', 99)", []).unwrap();
        assert_eq!(served(&connection, &mut line, 4), "bzab");
    }

    #[tokio::test]
    async fn no_tenant_has_more_than_its_share_and_nothing_is_begun_twice() {
        let connection = letters(&[&[("a", 1); 9][..], &[("b", 2)]].concat());
        let mut line = Line::default();
        let due = |line: &Line| ROWS.due(&connection, at(100), &line.last, 4, 2).unwrap();
        let first = choose(due(&line), &mut line, 4, 2);
        assert_eq!(first.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["a0000", "b0009", "a0001"]);
        let mut working = JoinSet::new();
        for job in first {
            line.busy.insert(working.spawn(async {}).id(), job);
        }
        assert_eq!(choose(due(&line), &mut line, 1, 2), []);
    }

    #[test]
    fn a_look_steps_through_indexes() {
        let connection = letters(&[]);
        for (sql, parameters) in [(ROWS.sql_of_tenants(), 3), (ROWS.sql_of_jobs(), 3), (ROWS.sql_of_next(), 1)] {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let parameters = rusqlite::params_from_iter(std::iter::repeat_n(1, parameters));
            let steps = statement.query_map(parameters, |row| row.get::<_, String>(3)).unwrap();
            for step in steps.map(Result::unwrap).filter(|step| step.contains(" letters")) {
                assert!(
                    step.contains("USING COVERING INDEX letters_") || step.contains("SEARCH letters USING INDEX letters_queue"),
                    "{sql}: {step}"
                );
            }
        }
    }
}
