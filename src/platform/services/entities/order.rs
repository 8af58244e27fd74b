//! Orders of a query as SQL over the JSON of a record. What the caller wrote is bound, never spliced in.

use rusqlite::types::Value as Sql;

use super::filter::{Conditions, invalid};
use crate::error::Result;
use crate::platform::declared_fields::paths_of;

/// Most fields that a list is sorted by.
const MAX_ORDERS: usize = 4;

/// What a list is sorted by, the first field first; never empty.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Order(Vec<SortKey>);

/// A field that a list is sorted by. Values of different kinds keep apart: nothing, then numbers, then text.
#[derive(Debug, Clone, PartialEq)]
struct SortKey {
    /// The value sorted by, as SQL.
    value: String,
    /// The paths bound in it; none for a time of the record itself.
    paths: Vec<String>,
    /// From the last to the first.
    descending: bool,
}

/// What a list is sorted by that keys can be read in the order of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sorted<'a> {
    /// When the records were made.
    ByAge,
    /// The value at a path.
    By(&'a str),
}

impl Order {
    /// Reads `name`, `-createdAt`, `country,-amount` and the like; by age if absent.
    pub(super) fn read(sort: Option<&str>) -> Result<Self> {
        let keys = sort.unwrap_or("createdAt").split(',').map(|field| SortKey::read(field.trim())).collect::<Result<Vec<_>>>()?;
        if keys.len() > MAX_ORDERS {
            return Err(invalid("/sort", "length", format!("names {} fields; at most {MAX_ORDERS} are allowed", keys.len())));
        }
        Ok(Self(keys))
    }

    /// The fields of the data that it names.
    pub(super) fn fields(sort: Option<&str>) -> impl Iterator<Item = &str> {
        let names = sort.unwrap_or_default().split(',').map(|field| field.trim().trim_start_matches('-'));
        names.filter(|name| !matches!(*name, "createdAt" | "updatedAt" | ""))
    }

    /// The paths that are bound in [`Order::values`].
    pub(super) fn paths(&self) -> impl Iterator<Item = &String> {
        self.0.iter().flat_map(|key| &key.paths)
    }

    /// The one value that a list is sorted by, and whether from the last to the first; none if there are several.
    pub(super) fn single(&self) -> Option<(Sorted<'_>, bool)> {
        let [key] = self.0.as_slice() else { return None };
        let sorted = match key.paths.as_slice() {
            [] if key.value == "created_at" => Sorted::ByAge,
            [path] => Sorted::By(path),
            _ => return None,
        };
        Some((sorted, key.descending))
    }

    /// The values sorted by, as columns `key0`, `key1` and so on.
    pub(super) fn values(&self) -> String {
        self.0.iter().enumerate().map(|(place, key)| format!(", {} AS key{place}", key.value)).collect::<Vec<_>>().concat()
    }

    /// What the values are compared by, as columns.
    pub(super) fn comparisons(&self) -> String {
        let compared = self.0.iter().enumerate().filter(|(_, key)| !key.paths.is_empty());
        let columns = compared.map(|(place, _)| {
            format!(
                ", CASE typeof(key{place}) WHEN 'null' THEN 0 WHEN 'text' THEN 2 ELSE 1 END AS class{place}, \
                 ifnull(key{place}, 0) AS place{place}"
            )
        });
        columns.collect::<Vec<_>>().concat()
    }

    /// The columns that are sorted by, each with whether it descends; records that are equal go by their age.
    pub(super) fn columns(&self) -> Vec<(String, bool)> {
        let of = |(place, key): (usize, &SortKey)| {
            // A time is never absent and of one kind, so the index on age serves; a field's values are put apart by kind.
            let names =
                if key.paths.is_empty() { vec![format!("key{place}")] } else { vec![format!("class{place}"), format!("place{place}")] };
            names.into_iter().map(|name| (name, key.descending)).collect::<Vec<_>>()
        };
        let last = ("number".to_owned(), self.0.first().is_some_and(|key| key.descending));
        self.0.iter().enumerate().flat_map(of).chain([last]).collect()
    }

    /// The condition of records behind one that has these values in the columns.
    pub(super) fn beyond(&self, values: &[Sql]) -> Conditions {
        let columns = self.columns();
        let mut condition = Conditions::default();
        let mut end = values.len().min(columns.len());
        // Columns of one direction are compared at once, which an index serves.
        for group in columns[..end].chunk_by(|one, next| one.1 == next.1).rev() {
            let (names, marks) =
                (group.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "), vec!["?"; group.len()].join(", "));
            let given = &values[end - group.len()..end];
            end -= group.len();
            let sign = if group[0].1 { "<" } else { ">" };
            let behind = format!("({names}) {sign} ({marks})");
            let inner = std::mem::take(&mut condition);
            condition = if inner.sql.is_empty() {
                Conditions { sql: behind, values: given.to_vec(), ..Conditions::default() }
            } else {
                let sql = format!("({behind} OR (({names}) = ({marks}) AND {}))", inner.sql);
                Conditions { sql, values: [given, given, &inner.values].concat(), ..Conditions::default() }
            };
        }
        condition
    }
}

impl SortKey {
    fn read(sort: &str) -> Result<Self> {
        let (field, descending) = sort.strip_prefix('-').map_or((sort, false), |field| (field, true));
        let last = field.rsplit_once(char::is_whitespace).map_or("", |(_, last)| last);
        if ["asc", "desc"].contains(&last.to_ascii_lowercase().as_str()) {
            return Err(invalid(
                "/sort",
                "order",
                "names fields, with `-` in front for descending, such as `-createdAt` or `country,-amount`",
            ));
        }
        let (value, paths) = match field {
            "createdAt" => ("created_at".to_owned(), Vec::new()),
            "updatedAt" => ("updated_at".to_owned(), Vec::new()),
            field => {
                let paths = paths_of(field).map_err(|detail| invalid("/sort", "field", detail))?;
                let value = match paths.len() {
                    1 => "json_extract(data, ?)".to_owned(),
                    _ => "coalesce(json_extract(data, ?), json_extract(data, ?))".to_owned(),
                };
                (value, paths)
            }
        };
        Ok(Self { value, paths, descending })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_from_its_name() {
        let columns = |sort: Option<&str>| Order::read(sort).unwrap().columns();
        let column = |name: &str, descending| (name.to_owned(), descending);
        assert_eq!(columns(None), [column("key0", false), column("number", false)]);
        assert_eq!(columns(Some("-updatedAt")), [column("key0", true), column("number", true)]);
        assert_eq!(
            columns(Some("a.b, -c")),
            [column("class0", false), column("place0", false), column("class1", true), column("place1", true), column("number", false)]
        );
        assert_eq!(Order::read(Some("a.b")).unwrap().paths().count(), 2);
        assert!(Order::read(Some("a,b,c,d,e")).is_err());
        assert!(Order::read(Some("a,,b")).is_err());
        assert!(Order::read(Some("-")).is_err());
        assert!(Order::read(Some("v desc")).is_err());
    }
}
