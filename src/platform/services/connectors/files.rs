//! Files of rows: CSV and JSON lines, read in batches. A row that cannot be read is a row with a reason, never the end.

use std::cmp::Ordering;
use std::collections::HashSet;

use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::rows::{Batch, Reason, Row};
use super::source::{File, Format};
use crate::api::arguments::quote;
use crate::error::{Error, Kind, Result};

/// Most rows of a source.
pub(super) const MAX_ROWS: u64 = 1_000_000;
/// Most columns.
const MAX_COLUMNS: usize = 500;
/// Largest row, in bytes.
const MAX_ROW: usize = super::query::MAX_ROW;
/// How many rows are looked at for the names of their fields.
const MAX_SAMPLE: usize = 100;

/// Where reading begins.
#[derive(Debug, Clone, Default)]
pub(super) struct From {
    /// Rows that were dealt with.
    pub(super) position: u64,
    /// Rows up to this watermark are passed over.
    pub(super) watermark: Option<String>,
    /// The highest watermark among the rows that were dealt with.
    pub(super) high: Option<String>,
    /// The column that identifies a row.
    pub(super) key_field: String,
}

/// Reads a file to its end, and hands over its rows; ends early where nobody takes them. Not for an async thread.
pub(super) fn read(file: &File, content: &[u8], from: &From, batches: &mpsc::Sender<Result<Batch>>) {
    let mut reading = Reading { file, from, batches, batch: Batch::default(), high: from.high.clone() };
    let ended = match file.format {
        Format::Csv { delimiter, has_header } => csv(&mut reading, content, delimiter, has_header),
        Format::JsonLines => json_lines(&mut reading, content),
    };
    match ended.and_then(|()| reading.hand_over()) {
        Ok(()) | Err(Ended::Unwanted) => {}
        Err(Ended::Failed(error)) => drop(batches.blocking_send(Err(error))),
    }
}

/// The names of a file's fields. Not for an async thread.
pub(super) fn columns(file: &File, content: &[u8]) -> Result<Vec<String>> {
    match file.format {
        Format::Csv { delimiter, has_header } => {
            let content = without_mark(content);
            let mut reader = csv_reader(content, delimiter);
            let mut record = csv::ByteRecord::new();
            if !reader.read_byte_record(&mut record).map_err(Error::internal)? {
                return Err(no_header("holds no row"));
            }
            header(&record, has_header)
        }
        Format::JsonLines => {
            let mut names: Vec<String> = Vec::new();
            for line in content.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).take(MAX_SAMPLE) {
                let fields = Row::of_json(1, line.trim_ascii()).fields.map_err(|reason| {
                    Error::new(Kind::Invalid, "FM-DCS-FORMAT", format!("a line {}", reason.text)).hint("Send one JSON object a line.")
                })?;
                for name in fields.keys().filter(|name| names.len() < MAX_COLUMNS && !names.contains(name)).cloned().collect::<Vec<_>>() {
                    names.push(name);
                }
            }
            Ok(names)
        }
    }
}

/// Why reading stops before the end of the file.
enum Ended {
    Unwanted,
    Failed(Error),
}

struct Reading<'a> {
    file: &'a File,
    from: &'a From,
    batches: &'a mpsc::Sender<Result<Batch>>,
    batch: Batch,
    high: Option<String>,
}

impl Reading<'_> {
    /// Adds a row, unless its watermark says that an earlier run has read it.
    fn add(&mut self, row: Row) -> Result<(), Ended> {
        if row.place > MAX_ROWS {
            let error = Error::new(Kind::TooLarge, "FM-DCS-TOO-MANY-ROWS", format!("the source has more than {MAX_ROWS} rows"));
            return Err(Ended::Failed(error.hint("Divide it, and import its parts.")));
        }
        let (place, mark) = (row.place, self.watermark_of(&row));
        let is_known = matches!((&mark, &self.from.watermark), (Some(mark), Some(known)) if compare(mark, known) != Ordering::Greater);
        self.batch.position = place;
        if !is_known {
            if let Some(mark) = mark
                && self.high.as_ref().is_none_or(|high| compare(&mark, high) == Ordering::Greater)
            {
                self.high = Some(mark);
            }
            self.batch.rows.push(row);
        }
        if self.batch.is_full() { self.hand_over() } else { Ok(()) }
    }

    fn watermark_of(&self, row: &Row) -> Option<String> {
        let fields = row.fields.as_ref().ok()?;
        match fields.get(self.file.watermark.as_ref()?)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            value @ Value::Number(_) => Some(value.to_string()),
            _ => None,
        }
    }

    fn hand_over(&mut self) -> Result<(), Ended> {
        let batch = Batch { high: self.high.clone(), ..std::mem::take(&mut self.batch) };
        if batch.position == 0 {
            return Ok(());
        }
        self.batch.position = batch.position;
        self.batches.blocking_send(Ok(batch)).map_err(|_| Ended::Unwanted)
    }
}

/// Compares watermarks: as numbers where both are, else as texts, which orders times that are written alike.
fn compare(one: &str, other: &str) -> Ordering {
    let numbers = one.parse::<f64>().ok().zip(other.parse::<f64>().ok());
    numbers.and_then(|(one, other)| one.partial_cmp(&other)).unwrap_or_else(|| one.cmp(other))
}

fn csv(reading: &mut Reading<'_>, content: &[u8], delimiter: u8, has_header: bool) -> Result<(), Ended> {
    let content = without_mark(content);
    let mut reader = csv_reader(content, delimiter);
    let mut record = csv::ByteRecord::new();
    let broken = |error: csv::Error| Ended::Failed(Error::internal(error));
    if !reader.read_byte_record(&mut record).map_err(broken)? {
        return Err(Ended::Failed(no_header("holds no row")));
    }
    let names = header(&record, has_header).map_err(Ended::Failed)?;
    for wanted in [Some(&reading.from.key_field), reading.file.watermark.as_ref()].into_iter().flatten() {
        if !names.contains(wanted) {
            let known = names.iter().take(20).map(|name| quote(name)).collect::<Vec<_>>().join(", ");
            return Err(Ended::Failed(no_header(&format!("has no column {}; it has {known}", quote(wanted)))));
        }
    }
    if !has_header {
        reader = csv_reader(content, delimiter);
    }
    let mut place = 0;
    loop {
        let start = reader.position().byte();
        if !reader.read_byte_record(&mut record).map_err(broken)? {
            return Ok(());
        }
        place += 1;
        if place <= reading.from.position {
            continue;
        }
        let range = usize::try_from(start).unwrap_or_default()..usize::try_from(reader.position().byte()).unwrap_or_default();
        let text = content.get(range).unwrap_or_default().trim_ascii();
        reading.add(Row::new(place, text, fields(&record, &names, text.len())))?;
    }
}

fn csv_reader(content: &[u8], delimiter: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(content)
}

/// The content without the byte order mark that spreadsheets write.
fn without_mark(content: &[u8]) -> &[u8] {
    content.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(content)
}

/// The names of the columns: those of the first row, or `column_1` and so on.
fn header(record: &csv::ByteRecord, has_header: bool) -> Result<Vec<String>> {
    if record.len() > MAX_COLUMNS {
        return Err(no_header(&format!("has {} columns; at most {MAX_COLUMNS} are read", record.len())));
    }
    if !has_header {
        return Ok((1..=record.len()).map(|number| format!("column_{number}")).collect());
    }
    let mut known = HashSet::new();
    let mut names = Vec::new();
    for (number, cell) in record.iter().enumerate() {
        let name = std::str::from_utf8(cell).unwrap_or_default().trim().to_owned();
        if name.is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
            return Err(no_header(&format!("has no name of 1 to 200 characters in column {}", number + 1)));
        }
        if !known.insert(name.clone()) {
            return Err(no_header(&format!("names the column {} twice", quote(&name))));
        }
        names.push(name);
    }
    Ok(names)
}

fn no_header(what: &str) -> Error {
    Error::new(Kind::Invalid, "FM-DCS-HEADER", format!("the file {what}"))
        .hint("Give the file a header of different names, with the column that `keyField` names (`id` if absent), or say `header: false`.")
}

fn fields(record: &csv::ByteRecord, names: &[String], bytes: usize) -> Result<Map<String, Value>, Reason> {
    if bytes > MAX_ROW {
        return Err(Reason::new("size", format!("has {bytes} bytes; at most {MAX_ROW} are read")));
    }
    if record.len() != names.len() {
        return Err(Reason::new("columns", format!("has {} fields; the header has {}", record.len(), names.len())));
    }
    let cell = |(name, cell): (&String, &[u8])| {
        let text = std::str::from_utf8(cell).map_err(|_| Reason::new("utf-8", format!("is not UTF-8 in {}", quote(name))))?;
        Ok((name.clone(), Value::from(text)))
    };
    names.iter().zip(record.iter()).map(cell).collect()
}

fn json_lines(reading: &mut Reading<'_>, content: &[u8]) -> Result<(), Ended> {
    for (place, line) in (1_u64..).zip(without_mark(content).split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if place <= reading.from.position || line.is_empty() {
            continue;
        }
        reading.add(if line.len() > MAX_ROW {
            Row::new(place, line, Err(Reason::new("size", format!("has {} bytes; at most {MAX_ROW} are read", line.len()))))
        } else {
            Row::of_json(place, line)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row's place with its fields or the code of the reason, and the highest watermark.
    type Found = (Vec<(u64, String)>, Option<String>);

    /// What reading a file gives.
    fn rows(format: Format, content: &str, from: &From) -> Result<Found> {
        let file = File { format, url: None, watermark: from.watermark.as_ref().map(|_| "at".to_owned()) };
        let (sender, mut receiver) = mpsc::channel(1_000);
        read(&file, content.as_bytes(), from, &sender);
        drop(sender);
        let (mut found, mut high) = (Vec::new(), None);
        while let Some(batch) = receiver.blocking_recv() {
            let batch = batch?;
            high = batch.high;
            found.extend(batch.rows.into_iter().map(|row| {
                let said = row.fields.map_or_else(|reason| reason.code.to_owned(), |fields| Value::from(fields).to_string());
                (row.place, said)
            }));
        }
        Ok((found, high))
    }

    fn from(position: u64) -> From {
        From { position, key_field: "id".to_owned(), ..From::default() }
    }

    const CSV: Format = Format::Csv { delimiter: b',', has_header: true };

    #[test]
    fn ragged_rows_are_reasons_and_nothing_is_lost() {
        let content = "\u{feff}id,name\r\n1,\"A, Inc\"\r\n2\r\n3,b,c\r\n\r\n4,\"two\nlines\"\r\n";
        let (found, _) = rows(CSV, content, &from(0)).unwrap();
        let expected = [(1, r#"{"id":"1","name":"A, Inc"}"#), (2, "columns"), (3, "columns"), (4, r#"{"id":"4","name":"two\nlines"}"#)];
        assert_eq!(found, expected.map(|(place, said)| (place, said.to_owned())));
        assert_eq!(rows(CSV, content, &from(3)).unwrap().0, [(4, expected[3].1.to_owned())], "reading goes on behind a position");
    }

    #[test]
    fn a_header_names_each_column_once_and_the_key() {
        for content in ["", "id,id\n", "id,\n1,2\n", "name\n1\n"] {
            assert_eq!(rows(CSV, content, &from(0)).unwrap_err().code(), "FM-DCS-HEADER", "{content}");
        }
        let bare = Format::Csv { delimiter: b';', has_header: false };
        let key = From { key_field: "column_1".to_owned(), ..From::default() };
        assert_eq!(rows(bare, "7;x\n", &key).unwrap().0, [(1, r#"{"column_1":"7","column_2":"x"}"#.to_owned())]);
    }

    #[test]
    fn lines_that_are_no_objects_are_reasons() {
        let (found, _) = rows(Format::JsonLines, "{\"id\":1}\n\n[2]\nnonsense\n{\"id\":4}", &from(0)).unwrap();
        let said: Vec<_> = found.iter().map(|(place, said)| (*place, said.as_str())).collect();
        assert_eq!(said, [(1, r#"{"id":1}"#), (3, "not-an-object"), (4, "not-json"), (5, r#"{"id":4}"#)]);
    }

    #[test]
    fn rows_up_to_the_watermark_are_passed_over() {
        let known = From { watermark: Some("9".to_owned()), ..from(0) };
        let content = "{\"id\":1,\"at\":9}\n{\"id\":2,\"at\":10}\n{\"id\":3}\n";
        let (found, high) = rows(Format::JsonLines, content, &known).unwrap();
        assert_eq!((found.iter().map(|(place, _)| *place).collect::<Vec<_>>(), high.as_deref()), (vec![2, 3], Some("10")));
    }
}
