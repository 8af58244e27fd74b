//! Lists whose rows lie in several ranges of an index, such as those of several states.

use std::collections::BTreeSet;

use rusqlite::types::{FromSql, Value as Sql};
use rusqlite::{Connection, params_from_iter};

use crate::error::Result;

/// Adds the first ids of each range to those that were found already.
///
/// `sql` answers with the ids of one range in the order of an index, as many as a page holds at most. So a page costs what it
/// and the ranges hold, and not what lies behind them: joined in SQL, all rows of all ranges would be sorted.
pub(crate) fn first_of<T: FromSql + Ord>(
    connection: &Connection,
    sql: &str,
    ranges: impl IntoIterator<Item = Vec<Sql>>,
    found: &mut BTreeSet<T>,
) -> Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    for values in ranges {
        for id in statement.query_map(params_from_iter(values), |row| row.get(0))? {
            found.insert(id?);
        }
    }
    Ok(())
}
