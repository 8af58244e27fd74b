//! A logical replication slot: the place in a database's log up to which an import has kept the changes of its table.
//!
//! It is read by SQL: changes are peeked at, and the slot advances once they are kept. The database removes no log behind it.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::Oid;
use tokio_postgres::{Client, Transaction};

use super::decoding::{self, KeyColumn};
use super::fetch::unavailable;
use super::postgres::{fault, within, within_or};
use super::query::literal;
use super::refusal;
use crate::api::arguments::quote;
use crate::api::connectors::ReplicationSlot;
use crate::error::{Error, Kind, Result};
use crate::platform::keys;

/// The decoder, which comes with PostgreSQL.
const PLUGIN: &str = "test_decoding";
/// After how many changes a look ends, with the transaction that the last one is in.
const LOOK: i32 = 5_000;
/// How many lines are asked for at once.
const FETCH: i32 = 50;
/// Most characters of a line that are read.
const MAX_LINE: usize = 256 * 1024;
/// Most keys that a look collects, and their bytes; beyond that the whole table is read.
const MAX_KEYS: usize = 50_000;
const MAX_KEY_BYTES: usize = 8 * 1024 * 1024;
/// Most lines about rows without a key that a look keeps.
const MAX_WITHOUT_KEY: usize = 1_000;
/// How long a transaction of the log may take until others see what it did.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A table that is followed.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) oid: Oid,
    /// How the log begins a line about it.
    prefix: String,
    key: String,
    /// The key's type, as the log writes it and as a value is cast to it.
    type_name: String,
    pub(super) cast: String,
}

impl Table {
    /// Finds a table whose changes the log tells, by a key that it tells of each.
    pub(super) async fn find(client: &Client, written: &str, key: &str) -> Result<Self> {
        check_log(client).await?;
        let sql = "SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind = 'r' AND c.relpersistence = 'p' AND NOT c.relhassubclass, \
            format_type(a.atttypid, NULL), format_type(a.atttypid, a.atttypmod), \
            c.relreplident = 'f' OR EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) \
                AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END) \
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
            LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $2 AND a.attnum > 0 AND NOT a.attisdropped \
            WHERE c.oid = to_regclass($1)";
        let Some(row) = within(client.query_opt(sql, &[&written, &key])).await? else {
            return Err(refusal::fault("table", "table", "names no table that the database's user can see"));
        };
        if !row.try_get::<_, bool>(2).map_err(fault)? {
            let detail = "must be a plain table: the log tells nothing of views, and of partitions by their own names";
            return Err(refusal::fault("table", "table", detail));
        }
        let (Some(type_name), Some(cast)) = (row.try_get(3).map_err(fault)?, row.try_get(4).map_err(fault)?) else {
            let message = format!("the table has no column {}, which is to identify its rows", quote(key));
            return Err(Error::new(Kind::Invalid, "FM-DCS-KEY", message).hint("Create the import again with another `keyField`."));
        };
        if !row.try_get::<_, bool>(5).map_err(fault)? {
            let message =
                format!("the log does not tell the {} of rows that are deleted: it is not in the table's replica identity", quote(key));
            return Err(Error::new(Kind::Conflict, "FM-DCS-REPLICA-IDENTITY", message)
                .hint("Make the key field the table's primary key, or run `ALTER TABLE … REPLICA IDENTITY FULL` on the database."));
        }
        let name: String = row.try_get(1).map_err(fault)?;
        Ok(Self { oid: row.try_get(0).map_err(fault)?, prefix: format!("table {name}: "), key: key.to_owned(), type_name, cast })
    }
}

/// Refuses a database that does not write changes of rows to its log.
pub(super) async fn check_log(client: &Client) -> Result<()> {
    let level: String = within(client.query_one("SHOW wal_level", &[])).await?.try_get(0).map_err(fault)?;
    if level == "logical" {
        return Ok(());
    }
    let message = format!("the database writes a log without the changes of rows: its wal_level is {}", quote(&level));
    Err(Error::new(Kind::Conflict, "FM-DCS-WAL-LEVEL", message)
        .hint("Set `wal_level = logical` in postgresql.conf and restart the database, or use cdcMode `watermark`."))
}

/// What the log tells from the slot on.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Keys of the rows that changed.
    pub(super) keys: Vec<String>,
    /// Lines about rows whose key is null.
    pub(super) without_key: Vec<String>,
    /// Why the lines do not tell which rows changed.
    pub(super) untold: Option<&'static str>,
    /// Where the last transaction ends.
    pub(super) end: Option<String>,
    transactions: Vec<u32>,
}

/// A slot by its name.
#[derive(Debug, Clone)]
pub(super) struct Slot(pub(super) String);

impl Slot {
    /// The slot of an import: one name for each import of each platform, which nothing else can have.
    pub(super) fn of(platform: &str, tenant: &str, job: &str) -> Self {
        let digest = keys::sha256(format!("{platform}\0{tenant}\0{job}").as_bytes());
        Self(format!("flowmaster_{}", digest.get(..32).unwrap_or(&digest)))
    }

    /// Where the slot stands; nothing if there is none, or its log is lost.
    pub(super) async fn confirmed(&self, client: &Client) -> Result<Option<String>> {
        let sql = "SELECT confirmed_flush_lsn::text, wal_status = 'lost' FROM pg_replication_slots \
            WHERE slot_name = $1 AND plugin = $2 AND database = current_database()";
        let Some(row) = within(client.query_opt(sql, &[&self.0, &PLUGIN])).await? else { return Ok(None) };
        let is_lost: Option<bool> = row.try_get(1).map_err(fault)?;
        Ok(if is_lost == Some(true) { None } else { row.try_get(0).map_err(fault)? })
    }

    /// What the database says of the slot now.
    pub(super) async fn state(&self, client: &Client) -> Result<ReplicationSlot> {
        let sql =
            "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint, wal_status FROM pg_replication_slots WHERE slot_name = $1";
        let mut state = ReplicationSlot { name: self.0.clone(), lag_bytes: None, wal_status: None, error: None };
        match within(client.query_opt(sql, &[&self.0])).await? {
            None => state.error = Some("the database has no such slot".to_owned()),
            Some(row) => {
                let lag: Option<i64> = row.try_get(0).map_err(fault)?;
                state.lag_bytes = lag.and_then(|bytes| u64::try_from(bytes).ok());
                state.wal_status = row.try_get(1).map_err(fault)?;
            }
        }
        Ok(state)
    }

    /// Creates the slot, and answers where it stands: each transaction that ends after that is in the log.
    pub(super) async fn create(&self, client: &Client) -> Result<String> {
        let sql = format!("SELECT lsn::text FROM pg_create_logical_replication_slot({}, {})", literal(&self.0), literal(PLUGIN));
        within_or(slot_fault, client.query_one(&sql, &[])).await?.try_get(0).map_err(fault)
    }

    /// Drops the slot if it is there.
    pub(super) async fn drop(&self, client: &Client) -> Result<()> {
        let sql = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1";
        within_or(slot_fault, client.query_opt(sql, &[&self.0])).await.map(drop)
    }

    /// Advances the slot, behind which the log is not needed any more.
    pub(super) async fn advance(&self, client: &Client, to: &str) -> Result<()> {
        let (name, to) = (literal(&self.0), literal(to));
        let sql = format!(
            "SELECT pg_replication_slot_advance(slot_name, {to}) FROM pg_replication_slots \
             WHERE slot_name = {name} AND confirmed_flush_lsn < {to}"
        );
        within_or(slot_fault, client.query_opt(&sql, &[])).await.map(drop)
    }

    /// Looks at the changes of a table up to a place in the log, some at a time. They stay in the slot.
    pub(super) async fn peek(&self, client: &mut Client, table: &Table, up_to: &str) -> Result<Look> {
        let transaction = within(client.build_transaction().read_only(true).start()).await?;
        let prefix = literal(&table.prefix);
        let sql = format!(
            "SELECT lsn::text, xid::text, CASE WHEN data NOT LIKE 'COMMIT%' THEN left(data, {MAX_LINE}) END, length(data) > {MAX_LINE} \
             FROM pg_logical_slot_peek_changes({}, {}, {LOOK}, 'include-xids', '0', 'skip-empty-xacts', '1') \
             WHERE data LIKE 'COMMIT%' OR starts_with(data, {prefix}) \
             OR data LIKE ANY (ARRAY['table %: TRUNCATE: (no-flags)', 'table %: TRUNCATE: restart\\_seqs', 'table %: TRUNCATE:% cascade'])",
            literal(&self.0),
            literal(up_to)
        );
        let look = collect(&transaction, &sql, table).await?;
        within(transaction.commit()).await?;
        Ok(look)
    }
}

async fn collect(transaction: &Transaction<'_>, sql: &str, table: &Table) -> Result<Look> {
    let statement = within_or(slot_fault, transaction.prepare(sql)).await?;
    let portal = within_or(slot_fault, transaction.bind(&statement, &[])).await?;
    let (mut look, mut keys, mut bytes) = (Look::default(), BTreeSet::new(), 0);
    loop {
        let rows = within_or(slot_fault, transaction.query_portal(&portal, FETCH)).await?;
        if rows.is_empty() {
            look.keys = keys.into_iter().collect();
            return Ok(look);
        }
        for row in rows {
            let Some(line) = row.try_get::<_, Option<&str>>(2).map_err(fault)? else {
                look.end = row.try_get(0).map_err(fault)?;
                look.transactions.extend(row.try_get::<_, &str>(1).map_err(fault)?.parse::<u32>().ok());
                continue;
            };
            // What was cut off may be the half of a value: all of it goes.
            let is_cut = row.try_get(3).map_err(fault)?;
            let line = if is_cut { line.rsplit_once(' ').map_or("", |(whole, _)| whole) } else { line };
            match table.keys(line) {
                Told::Other => {}
                Told::Nothing(why) => look.untold = Some(why),
                Told::Keys(found) => {
                    for key in found {
                        match key {
                            None => look.without_key.push(line.chars().take(4_096).collect()),
                            Some(key) if look.untold.is_none() => {
                                let size = key.len();
                                if keys.insert(key) {
                                    bytes += size;
                                }
                            }
                            Some(_) => {}
                        }
                    }
                    if keys.len() > MAX_KEYS || bytes > MAX_KEY_BYTES || look.without_key.len() > MAX_WITHOUT_KEY {
                        look.untold = Some("more rows have changed than are read one by one");
                        keys.clear();
                        look.without_key.clear();
                    }
                }
            }
        }
    }
}

/// What a line of the log tells of a table.
enum Told {
    Keys(Vec<Option<String>>),
    Nothing(&'static str),
    /// It is about other tables.
    Other,
}

impl Table {
    fn keys(&self, line: &str) -> Told {
        if line.starts_with(&self.prefix) {
            return match decoding::keys(line, &self.prefix, KeyColumn { name: &self.key, type_name: &self.type_name }) {
                Some(keys) => Told::Keys(keys),
                None if line.starts_with(&format!("{}TRUNCATE", self.prefix)) => Told::Nothing("the table was emptied"),
                None => Told::Nothing("the log names a row without its key"),
            };
        }
        // One of several tables that were emptied together. A name that holds what separates names costs one reading.
        let name = self.prefix.trim_start_matches("table ").trim_end_matches(": ");
        let named = line.strip_prefix("table ").and_then(|rest| rest.rsplit_once(": TRUNCATE:")).map_or("", |(names, _)| names);
        if named.split(", ").any(|one| one == name) { Told::Nothing("the table was emptied") } else { Told::Other }
    }
}

impl Look {
    /// Waits until what the look's transactions did is seen by others: the log has them a moment before.
    pub(super) async fn settle(&self, client: &Client) -> Result<()> {
        let waiting = async {
            loop {
                let row = within(client.query_one("SELECT pg_current_snapshot()::text", &[])).await?;
                if all_visible(row.try_get(0).map_err(fault)?, &self.transactions) {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let late = |_: tokio::time::error::Elapsed| {
            unavailable("a transaction of the log is not visible yet, such as one that waits for a standby")
        };
        tokio::time::timeout(SETTLE_TIMEOUT, waiting).await.map_err(late)?
    }
}

/// Whether a snapshot, `xmin:xmax:xip,xip`, sees transactions by the lower half of their numbers.
fn all_visible(snapshot: &str, transactions: &[u32]) -> bool {
    #[expect(clippy::cast_possible_truncation, reason = "the log has the lower half alone")]
    let low = |number: &str| number.parse::<u64>().ok().map(|number| number as u32);
    let mut parts = snapshot.split(':').skip(1);
    let Some(next) = parts.next().and_then(low) else { return false };
    let running: Vec<u32> = parts.next().unwrap_or_default().split(',').filter_map(low).collect();
    // Numbers go round: those less than half of a round behind are older.
    let is_older = |one: u32| (1..1 << 31).contains(&next.wrapping_sub(one));
    transactions.iter().all(|one| is_older(*one) && !running.contains(one))
}

/// What the database's errors mean that are about slots.
fn slot_fault(error: tokio_postgres::Error) -> Error {
    let Some(said) = error.as_db_error() else { return fault(error) };
    let message: String = said.message().chars().filter(|c| !c.is_control()).take(300).collect();
    match said.code() {
        code if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            Error::new(Kind::Invalid, "FM-DCS-REPLICATION-PRIVILEGE", format!("the database's user may not follow its log: {message}"))
                .hint("Run `ALTER ROLE … REPLICATION` on the database for the user, or use cdcMode `watermark`.")
        }
        code if *code == SqlState::OBJECT_IN_USE => in_use(&message),
        code if *code == SqlState::CONFIGURATION_LIMIT_EXCEEDED => {
            Error::new(Kind::Conflict, "FM-DCS-SLOT-LIMIT", format!("the database has no replication slot to spare: {message}"))
                .hint("Drop slots that nothing reads any more, or raise `max_replication_slots` on the database.")
        }
        code if *code == SqlState::UNDEFINED_FILE => {
            Error::new(Kind::Conflict, "FM-DCS-DECODER", format!("the database cannot decode its log: {message}"))
                .hint("Install the package postgresql-contrib there, which has test_decoding.")
        }
        code if *code == SqlState::UNDEFINED_OBJECT || *code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE => {
            lost(&format!("the database says: {message}"))
        }
        _ => fault(error),
    }
}

/// The error of a slot that another session reads.
pub(super) fn in_use(why: &str) -> Error {
    Error::new(Kind::Unavailable, "FM-DCS-SLOT-IN-USE", format!("another session reads the import's replication slot: {why}"))
        .hint("Try again soon; end the other session on the database if it goes on.")
}

/// Why changes are lost that came after a mark, by where the slot stands: it never goes beyond what was kept.
pub(super) fn lost_since(mark: &str, confirmed: Option<&str>) -> Option<&'static str> {
    let Some(confirmed) = confirmed else { return Some("the database has no log for its replication slot any more") };
    (position(confirmed) > position(mark)).then_some("its replication slot was read by something else, such as a copy of this platform")
}

/// A place in the log, which is written as two halves in hexadecimal.
fn position(place: &str) -> Option<u64> {
    let (high, low) = place.split_once('/')?;
    Some((u64::from(u32::from_str_radix(high, 16).ok()?) << 32) | u64::from(u32::from_str_radix(low, 16).ok()?))
}

/// The error of a slot that is gone, and of the changes with it.
pub(super) fn lost(why: &str) -> Error {
    Error::new(Kind::Conflict, "FM-DCS-SLOT-LOST", format!("changes are lost that the import has not read: {why}"))
        .hint("Start the import again with ingest_jobs_start: it then reads the whole table, and deletes what is not there.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> Table {
        let prefix = format!("table {name}: ");
        Table { oid: 1, prefix, key: "id".to_owned(), type_name: "integer".to_owned(), cast: "integer".to_owned() }
    }

    #[test]
    fn a_snapshot_tells_which_transactions_it_sees() {
        for (snapshot, transactions, expected) in [
            ("760:760:", &[759][..], true),
            ("760:760:", &[760], false),
            ("750:760:752,755", &[751, 753, 759], true),
            ("750:760:752,755", &[751, 755], false),
            ("4294967290:4294967300:4294967299", &[u32::MAX, 2], true),
            ("4294967290:4294967300:4294967299", &[3], false),
            ("4294967290:4294967300:", &[4], false),
            ("", &[1], false),
            ("1:2:", &[], true),
        ] {
            assert_eq!(all_visible(snapshot, transactions), expected, "{snapshot} {transactions:?}");
        }
    }

    #[test]
    fn a_truncation_is_told_by_each_of_its_tables() {
        let line = "table public.a, sales.\"B\": TRUNCATE: restart_seqs cascade";
        assert!(matches!(table("sales.\"B\"").keys(line), Told::Nothing(_)));
        assert!(matches!(table("public.a").keys("table public.a: TRUNCATE: (no-flags)"), Told::Nothing("the table was emptied")));
        assert!(matches!(table("public.b").keys(line), Told::Other));
        assert!(
            matches!(table("public.a").keys("table public.a: DELETE: id[integer]:1"), Told::Keys(keys) if keys == [Some("1".to_owned())])
        );
    }

    #[test]
    fn a_slot_beyond_what_was_kept_has_lost_changes() {
        for (mark, confirmed, is_lost) in [
            ("0/158B2F0", Some("0/158B2F0"), false),
            ("0/158B2F0", Some("0/158B2E0"), false),
            ("0/FFFFFFFF", Some("1/0"), true),
            ("A/0", Some("9/FFFFFFFF"), false),
            ("0/1", None, true),
        ] {
            assert_eq!(lost_since(mark, confirmed).is_some(), is_lost, "{mark} {confirmed:?}");
        }
    }

    #[test]
    fn a_slots_name_is_short_and_of_one_import() {
        let name = Slot::of("platform", "tenant-1", "ingest-1").0;
        assert!(name.len() <= 63 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'), "{name}");
        for other in [
            Slot::of("other", "tenant-1", "ingest-1"),
            Slot::of("platform", "tenant-2", "ingest-1"),
            Slot::of("platform", "tenant-1", "ingest-2"),
        ] {
            assert_ne!(other.0, name);
        }
    }
}
