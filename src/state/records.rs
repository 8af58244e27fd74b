//! Records of callers: each is put once, taken once, and ends by itself.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction};

use crate::api::Timestamp;

/// How many records that have ended one put removes.
const SWEEP_BATCH: usize = 256;

/// The kind of a record; ids and bounds are of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordKind {
    /// A question that a host puts to a person; its id is the `requestState`.
    Question,
    /// A call that waits for `flowmaster-mcp confirm`.
    Pending,
    /// A wait that its host asks about by `tasks/get`.
    Task,
}

impl RecordKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Question => "question",
            Self::Pending => "pending",
            Self::Task => "task",
        }
    }
}

/// A record of a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// The owner's digest; no other caller sees the record.
    pub(crate) owner: String,
    pub(crate) id: String,
    /// What the record is bound to, such as the digest of a call.
    pub(crate) tag: String,
    pub(crate) value: String,
    pub(crate) created: Timestamp,
    pub(crate) expires: Timestamp,
}

/// How much of a kind is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Records of one owner; the oldest gives way.
    pub(crate) per_owner: usize,
    /// Records of all owners; beyond it none is kept.
    pub(crate) all: usize,
    /// Bytes of all values; beyond it none is kept.
    pub(crate) bytes: usize,
    /// Whether an owner has one live record of a tag.
    pub(crate) one_per_tag: bool,
}

/// What came of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    Kept,
    /// There is a record of that id, or of that tag where there can be one.
    Known,
    /// The owners' records take all the room there is.
    Full,
}

const COLUMNS: &str = "owner, id, tag, value, created_at, expires_at";

fn read(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        owner: row.get(0)?,
        id: row.get(1)?,
        tag: row.get(2)?,
        value: row.get(3)?,
        created: Timestamp::from_millis(row.get(4)?),
        expires: Timestamp::from_millis(row.get(5)?),
    })
}

pub(super) fn put(tx: &Transaction<'_>, kind: RecordKind, record: &Record, bounds: Bounds, now: Timestamp) -> rusqlite::Result<Put> {
    let kind = kind.name();
    tx.prepare_cached("DELETE FROM records WHERE rowid IN (SELECT rowid FROM records WHERE expires_at <= ?1 LIMIT ?2)")?
        .execute((now.millis(), SWEEP_BATCH))?;
    let known = tx
        .prepare_cached("SELECT 1 FROM records WHERE kind = ?1 AND owner = ?2 AND (id = ?3 OR (?4 AND tag = ?5 AND expires_at > ?6))")?
        .exists((kind, &record.owner, &record.id, bounds.one_per_tag, &record.tag, now.millis()))?;
    if known {
        return Ok(Put::Known);
    }
    // The owner's own oldest records give way first, so an owner at its bound takes no room of others.
    tx.prepare_cached(
        "DELETE FROM records WHERE rowid IN
         (SELECT rowid FROM records WHERE kind = ?1 AND owner = ?2 ORDER BY created_at DESC, id DESC LIMIT -1 OFFSET ?3)",
    )?
    .execute((kind, &record.owner, bounds.per_owner.saturating_sub(1)))?;
    let used: Option<(usize, usize)> = tx
        .prepare_cached("SELECT entries, bytes FROM record_usage WHERE kind = ?1")?
        .query_row([kind], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (entries, bytes) = used.unwrap_or_default();
    if entries >= bounds.all || bytes.saturating_add(record.value.len()) > bounds.bytes {
        return Ok(Put::Full);
    }
    tx.prepare_cached("INSERT INTO records (kind, owner, id, tag, value, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
        .execute((kind, &record.owner, &record.id, &record.tag, &record.value, record.created.millis(), record.expires.millis()))?;
    Ok(Put::Kept)
}

pub(super) fn take(
    tx: &Transaction<'_>,
    kind: RecordKind,
    owner: &str,
    id: &str,
    tag: &str,
    now: Timestamp,
) -> rusqlite::Result<Option<Record>> {
    tx.prepare_cached(&format!(
        "DELETE FROM records WHERE kind = ?1 AND owner = ?2 AND id = ?3 AND tag = ?4 AND expires_at > ?5 RETURNING {COLUMNS}"
    ))?
    .query_row((kind.name(), owner, id, tag, now.millis()), read)
    .optional()
}

/// What becomes of a record's value, and when the record ends then; none leaves both as they are.
pub(crate) type Change<'a> = dyn FnMut(&str) -> Option<(String, Timestamp)> + 'a;

pub(super) fn amend(
    tx: &Transaction<'_>,
    kind: RecordKind,
    owner: &str,
    id: &str,
    now: Timestamp,
    change: &mut Change<'_>,
) -> rusqlite::Result<bool> {
    let Some((value, expires)) = get(tx, kind, owner, id, now)?.and_then(|record| change(&record.value)) else { return Ok(false) };
    tx.prepare_cached("UPDATE records SET value = ?4, expires_at = ?5 WHERE kind = ?1 AND owner = ?2 AND id = ?3")?.execute((
        kind.name(),
        owner,
        id,
        value,
        expires.millis(),
    ))?;
    Ok(true)
}

pub(super) fn get(connection: &Connection, kind: RecordKind, owner: &str, id: &str, now: Timestamp) -> rusqlite::Result<Option<Record>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM records WHERE kind = ?1 AND owner = ?2 AND id = ?3 AND expires_at > ?4"))?
        .query_row((kind.name(), owner, id, now.millis()), read)
        .optional()
}

pub(super) fn list(connection: &Connection, kind: RecordKind, owner: &str, now: Timestamp) -> rusqlite::Result<Vec<Record>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM records WHERE kind = ?1 AND owner = ?2 AND expires_at > ?3 ORDER BY created_at, id"
        ))?
        .query_map((kind.name(), owner, now.millis()), read)?
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{State, Store};

    const BOUNDS: Bounds = Bounds { per_owner: 3, all: 5, bytes: 1000, one_per_tag: false };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn record(owner: &str, id: &str, created: i64) -> Record {
        Record {
            owner: owner.to_owned(),
            id: id.to_owned(),
            tag: "call".to_owned(),
            value: "{}".to_owned(),
            created: at(created),
            expires: at(created + 60),
        }
    }

    fn put(store: &dyn Store, record: &Record) -> Put {
        store.put(RecordKind::Question, record, BOUNDS, record.created).unwrap()
    }

    fn take(store: &dyn Store, owner: &str, id: &str, tag: &str, now: i64) -> bool {
        store.take(RecordKind::Question, owner, id, tag, at(now)).unwrap().is_some()
    }

    #[test]
    fn a_record_is_taken_once_by_its_owner_for_its_tag() {
        let data = tempfile::tempdir().unwrap();
        let (one, other) = (State::new(Some(data.path())), State::new(Some(data.path())));
        assert_eq!(put(one.store(), &record("anna", "1", 0)), Put::Kept);
        assert_eq!(put(other.store(), &record("anna", "1", 0)), Put::Known);
        assert!(!take(other.store(), "bert", "1", "call", 1) && !take(other.store(), "anna", "1", "another call", 1));
        assert!(take(other.store(), "anna", "1", "call", 1));
        assert!(!take(one.store(), "anna", "1", "call", 1) && !take(State::new(Some(data.path())).store(), "anna", "1", "call", 1));
    }

    #[test]
    fn of_many_who_take_at_once_one_gets_it() {
        let data = tempfile::tempdir().unwrap();
        put(State::new(Some(data.path())).store(), &record("anna", "1", 0));
        let won: usize = std::thread::scope(|scope| {
            let takers: Vec<_> =
                (0..8).map(|_| scope.spawn(|| usize::from(take(State::new(Some(data.path())).store(), "anna", "1", "call", 1)))).collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).sum()
        });
        assert_eq!(won, 1);
    }

    #[test]
    fn an_ended_record_is_neither_taken_nor_listed_nor_amended() {
        let state = State::new(None);
        let store = state.store();
        put(store, &record("anna", "1", 0));
        assert!(!take(store, "anna", "1", "call", 60));
        assert!(store.list(RecordKind::Question, "anna", at(60)).unwrap().is_empty());
        assert!(store.get(RecordKind::Question, "anna", "1", at(60)).unwrap().is_none());
        let amend = |now, made: Option<&str>| {
            store.amend(RecordKind::Question, "anna", "1", at(now), &mut |before| {
                assert_eq!(before, "{}");
                made.map(|value| (value.to_owned(), at(999)))
            })
        };
        assert!(!amend(60, Some("{}")).unwrap() && !amend(59, None).unwrap());
        assert!(amend(59, Some("[1]")).unwrap());
        let kept = store.take(RecordKind::Question, "anna", "1", "call", at(998)).unwrap().unwrap();
        assert_eq!((kept.value.as_str(), kept.expires), ("[1]", at(999)));
    }

    #[test]
    fn an_owners_oldest_gives_way_and_all_have_a_bound() {
        let state = State::new(None);
        let store = state.store();
        for number in 0..4 {
            assert_eq!(put(store, &record("anna", &number.to_string(), number)), Put::Kept);
        }
        let ids: Vec<String> = store.list(RecordKind::Question, "anna", at(4)).unwrap().into_iter().map(|record| record.id).collect();
        assert_eq!(ids, ["1", "2", "3"]);
        assert_eq!(put(store, &record("bert", "1", 4)), Put::Kept);
        assert_eq!(put(store, &record("carl", "1", 4)), Put::Kept);
        assert_eq!(put(store, &record("dora", "1", 4)), Put::Full);
        assert_eq!(put(store, &record("anna", "9", 4)), Put::Kept, "an owner's own oldest made room");
        assert_eq!(put(store, &record("dora", "1", 62)), Put::Kept, "what had ended made room");
        let large = Record { value: "x".repeat(2000), ..record("erik", "1", 200) };
        assert_eq!(put(store, &large), Put::Full);
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_its_owners_alone_and_a_newer_one_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("state.db");
        put(State::new(Some(data.path())).store(), &record("anna", "1", 0));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
        let refused = State::new(Some(data.path())).store().next_due().unwrap_err();
        assert_eq!(refused.code(), "FM-MCP-STATE-VERSION");
        assert!(refused.message().contains("99"), "{refused}");
        std::fs::write(&path, "a text that is long enough to be taken for a database file, were it not for its beginning").unwrap();
        assert_eq!(State::new(Some(data.path())).store().next_due().unwrap_err().code(), "FM-MCP-STATE");
        std::fs::remove_file(&path).unwrap();
        std::fs::set_permissions(data.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(State::new(Some(data.path())).store().next_due().unwrap_err().code(), "FM-MCP-STATE");
        assert!(!path.exists());
    }
}
