//! What a job's configuration says of its source, checked field by field before anything is kept or connected to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::query::Query;
use super::refusal::{fault, refused};
use crate::api::FieldError;
use crate::api::arguments::quote;
use crate::api::connectors::SourceType;
use crate::error::{Error, Kind, Result};
use crate::platform::keys;

/// Fields of a configuration that would hold a secret, in lower case without `_` and `-`.
const SECRETS: [&str; 10] =
    ["password", "passwd", "pwd", "secret", "token", "apikey", "accesskey", "secretkey", "connectionstring", "credentials"];
/// Most characters of a text of the configuration.
const MAX_TEXT: usize = 16_384;
/// Largest configuration without the file in it, as JSON.
const MAX_CONFIG: usize = 64 * 1024;
/// Most credentials, and the longest.
const MAX_CREDENTIALS: usize = 20;
const MAX_CREDENTIAL: usize = 8_192;

/// A source that can be read.
#[derive(Debug, Clone)]
pub(super) enum Source {
    File(File),
    Postgres(Postgres),
}

/// A file of rows.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) format: Format,
    /// Where it is; without an address it came with the job.
    pub(super) url: Option<String>,
    /// The column whose values grow with each change.
    pub(super) watermark: Option<String>,
}

/// How rows are written.
#[derive(Debug, Clone)]
pub(super) enum Format {
    Csv { delimiter: u8, has_header: bool },
    JsonLines,
}

/// A PostgreSQL database and what is read of it.
#[derive(Debug, Clone)]
pub(super) struct Postgres {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: String,
    pub(super) username: Option<String>,
    pub(super) query: Query,
    /// Whether changes are read from the database's log.
    pub(super) follows_log: bool,
}

impl Source {
    /// Whether rows that are gone from the source become deletions.
    pub(super) fn deletes(&self) -> bool {
        matches!(self, Self::Postgres(Postgres { follows_log: true, .. }))
    }
}

/// How changed rows are told from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CdcMode {
    /// By a column that grows.
    Watermark,
    /// By the database's log.
    Logical,
}

/// A configuration as it was read: the source, what of it is kept and shown, and the file that came with it.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) source: Source,
    pub(super) shown: Map<String, Value>,
    pub(super) content: Option<Vec<u8>>,
    /// The name that the rows have in their source.
    pub(super) name: Option<String>,
}

/// Reads a configuration as a caller sends it.
pub(super) fn read(source_type: &SourceType, config: Map<String, Value>, cdc: bool) -> Result<Read> {
    if !matches!(source_type, SourceType::Csv | SourceType::Jsonl | SourceType::Postgresql) {
        return Err(unsupported(source_type));
    }
    if let Some(name) = config.keys().find(|name| is_secret(name)) {
        return Err(fault(name, "secret", "would be shown with the job; send it in `credentials`"));
    }
    let (shown, content) = take_content(config)?;
    if shown.len() > 50 || Value::from(shown.clone()).to_string().len() > MAX_CONFIG {
        return Err(fault("", "size", &format!("has more than 50 fields or {} KiB", MAX_CONFIG / 1024)));
    }
    if *source_type == SourceType::Postgresql && content.is_some() {
        return Err(fault("content", "content", "is for files; a database is named by host, database, and query or table"));
    }
    let source = of(source_type, &shown, cdc, content.is_some())?;
    let name = match &source {
        Source::Postgres(postgres) => postgres.query.table_name(),
        Source::File(_) => None,
    };
    Ok(Read { source, shown, content, name })
}

/// Reads a configuration without its file, as it is kept.
pub(super) fn of(source_type: &SourceType, config: &Map<String, Value>, cdc: bool, has_content: bool) -> Result<Source> {
    match source_type {
        SourceType::Csv => {
            let format = Format::Csv { delimiter: delimiter(config)?, has_header: flag(config, "header")?.unwrap_or(true) };
            file(config, format, cdc, has_content)
        }
        SourceType::Jsonl => file(config, Format::JsonLines, cdc, has_content),
        SourceType::Postgresql => postgres(config, cdc),
        other => Err(unsupported(other)),
    }
}

/// Moves the sign-in that stands in a configuration among the credentials, which are sealed and never shown.
pub(super) fn take_sign_in(config: &mut Map<String, Value>, credentials: &mut Map<String, Value>) -> Result<()> {
    if !["password", "token"].iter().any(|name| config.get(*name).is_some_and(Value::is_string)) {
        return Ok(());
    }
    for name in ["username", "password", "token"] {
        let Some(value) = config.shift_remove(name).filter(|value| !value.is_null()) else { continue };
        if credentials.insert(name.to_owned(), value).is_some() {
            return Err(fault(name, "exclusive", "is given in `credentials` too; one of them is the sign-in"));
        }
    }
    Ok(())
}

/// Checks credentials: texts by name.
pub(super) fn check_credentials(credentials: &Map<String, Value>) -> Result<()> {
    if credentials.len() > MAX_CREDENTIALS {
        return Err(refused(FieldError::new("/credentials", "length", format!("holds more than {MAX_CREDENTIALS} credentials"))));
    }
    let is_wrong = |value: &Value| value.as_str().is_none_or(|text| text.len() > MAX_CREDENTIAL || text.contains('\0'));
    match credentials.iter().find(|(name, value)| name.len() > 64 || is_wrong(value)) {
        None => Ok(()),
        Some((name, _)) => {
            let pointer = format!("/credentials/{}", name.chars().take(64).collect::<String>());
            Err(refused(FieldError::new(pointer, "type", format!("must be a text of at most {MAX_CREDENTIAL} bytes"))))
        }
    }
}

fn is_secret(name: &str) -> bool {
    let plain: String = name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect();
    SECRETS.contains(&plain.as_str())
}

/// A configuration, and the file that was in it.
type Parted = (Map<String, Value>, Option<Vec<u8>>);

/// Takes the file out of a configuration, and tells of it by size and digest.
fn take_content(mut config: Map<String, Value>) -> Result<Parted> {
    let content = match (config.shift_remove("content"), config.shift_remove("contentBase64")) {
        (None, None) => return Ok((config, None)),
        (Some(Value::String(text)), None) => text.into_bytes(),
        (None, Some(Value::String(text))) => {
            STANDARD.decode(text).map_err(|_| fault("contentBase64", "base64", "is not base64 with its padding"))?
        }
        (Some(_), None) => return Err(fault("content", "type", "must be the file's text")),
        (None, Some(_)) => return Err(fault("contentBase64", "type", "must be the file's bytes in base64")),
        (Some(_), Some(_)) => return Err(fault("contentBase64", "exclusive", "is given beside `content`; one of them is the file")),
    };
    config.insert("contentBytes".to_owned(), json!(content.len()));
    config.insert("contentSha256".to_owned(), json!(keys::sha256(&content)));
    Ok((config, Some(content)))
}

fn file(config: &Map<String, Value>, format: Format, cdc: bool, has_content: bool) -> Result<Source> {
    if config.contains_key("path") {
        let message = "this platform reads no files of its machine";
        return Err(Error::new(Kind::Invalid, "FM-DCS-PATH", message)
            .field("/sourceConfig/path", "path", "is a place on the platform's disk, which imports cannot open")
            .hint("Send the file as `content` (text) or `contentBase64`, or name its address as `url`."));
    }
    let url = text(config, "url")?;
    match (&url, has_content) {
        (None, false) => {
            return Err(fault("content", "required", "or `contentBase64` holds the file, or `url` names it; one of them is needed"));
        }
        (Some(_), true) => return Err(fault("url", "exclusive", "is given beside the file itself; one of them is the source")),
        _ => {}
    }
    if cdc_mode(config)? == CdcMode::Logical {
        return Err(cdc_mode_error("a file has no log of its changes", "must be `watermark`, or left out"));
    }
    let watermark = text(config, "watermarkColumn")?;
    if cdc && watermark.is_none() {
        return Err(fault("watermarkColumn", "required", "names the column whose values grow with each change, which cdcEnabled needs"));
    }
    Ok(Source::File(File { format, url, watermark: watermark.filter(|_| cdc) }))
}

fn postgres(config: &Map<String, Value>, cdc: bool) -> Result<Source> {
    let required = |name: &str| text(config, name)?.ok_or_else(|| fault(name, "required", "is needed to reach the database"));
    if let Some(mode) = text(config, "sslMode")?.or(text(config, "sslmode")?)
        && !matches!(mode.as_str(), "disable" | "allow" | "prefer")
    {
        return Err(fault("sslMode", "tls", "asks for TLS, which imports do not speak to databases yet; use `disable` and a tunnel"));
    }
    let follows_log = cdc_mode(config)? == CdcMode::Logical;
    if follows_log {
        for (name, detail) in [
            ("query", "cannot be followed in the log, which knows tables; name a `table`"),
            ("watermarkColumn", "is for cdcMode `watermark`; the log tells what has changed"),
            ("initialWatermark", "is for cdcMode `watermark`; the first run reads the whole table"),
        ] {
            if text(config, name)?.is_some() {
                return Err(fault(name, "exclusive", detail));
            }
        }
        if !cdc {
            return Err(fault("cdcMode", "exclusive", "is for imports with cdcEnabled true"));
        }
    }
    let port = match config.get("port") {
        None | Some(Value::Null) => 5432,
        Some(value) => value
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port > 0)
            .ok_or_else(|| fault("port", "range", "must be a number from 1 to 65535"))?,
    };
    let query = Query::read(
        text(config, "query")?,
        text(config, "table")?,
        text(config, "watermarkColumn")?,
        text(config, "initialWatermark")?,
        cdc && !follows_log,
    )?;
    let username = text(config, "username")?;
    Ok(Source::Postgres(Postgres { host: required("host")?, port, database: required("database")?, username, query, follows_log }))
}

/// Whether a configuration wants the changes of the database's log.
pub(super) fn wants_log(config: &Map<String, Value>) -> bool {
    matches!(cdc_mode(config), Ok(CdcMode::Logical))
}

fn cdc_mode(config: &Map<String, Value>) -> Result<CdcMode> {
    match text(config, "cdcMode")?.as_deref() {
        None | Some("watermark") => Ok(CdcMode::Watermark),
        Some("logical") => Ok(CdcMode::Logical),
        Some(mode) => {
            Err(cdc_mode_error(format!("changes cannot be read by {}", quote(mode)), "must be `watermark`, `logical` or left out"))
        }
    }
}

fn cdc_mode_error(message: impl Into<String>, detail: &str) -> Error {
    Error::new(Kind::Invalid, "FM-DCS-CDC-MODE", message)
        .field("/sourceConfig/cdcMode", "cdc-mode", detail)
        .hint("`watermark` reads by a column that grows with each change, `logical` follows the log of a PostgreSQL table.")
}

fn delimiter(config: &Map<String, Value>) -> Result<u8> {
    match config.get("delimiter") {
        None | Some(Value::Null) => Ok(b','),
        Some(Value::String(name)) if name == "tab" => Ok(b'\t'),
        Some(Value::String(text)) if matches!(text.as_bytes(), [byte] if byte.is_ascii() && !b"\"\r\n\0".contains(byte)) => {
            Ok(text.bytes().next().unwrap_or(b','))
        }
        Some(_) => Err(fault("delimiter", "delimiter", "must be one ASCII character such as `;`, or `tab`")),
    }
}

fn flag(config: &Map<String, Value>, name: &str) -> Result<Option<bool>> {
    match config.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(fault(name, "type", "must be true or false")),
    }
}

fn text(config: &Map<String, Value>, name: &str) -> Result<Option<String>> {
    match config.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.trim().is_empty() && text.len() <= MAX_TEXT && !text.contains('\0') => {
            Ok(Some(text.trim().to_owned()))
        }
        Some(_) => Err(fault(name, "type", &format!("must be a text of 1 to {MAX_TEXT} bytes"))),
    }
}

fn unsupported(source_type: &SourceType) -> Error {
    Error::new(
        Kind::Invalid,
        "FM-DCS-CONNECTOR-UNSUPPORTED",
        format!("the embedded platform has no connector for {}", quote(source_type.as_str())),
    )
    .field("/sourceType", "connector", "must be csv, jsonl or postgresql here")
    .hint("Export the data as CSV or JSON lines, or set FLOWMASTER_URL to a FlowMaster platform that has the connector.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(source_type: &SourceType, config: Value) -> (String, String) {
        let Value::Object(config) = config else { panic!("not an object") };
        let error = read(source_type, config, false).unwrap_err();
        (error.code().to_owned(), error.fields()[0].pointer.clone())
    }

    #[test]
    fn a_file_is_taken_out_of_what_is_shown() {
        let Value::Object(config) = json!({ "contentBase64": "aWQKMQo=", "delimiter": ";" }) else { panic!() };
        let read = read(&SourceType::Csv, config, false).unwrap();
        assert_eq!(read.content.as_deref(), Some(&b"id\n1\n"[..]));
        assert_eq!((read.shown.get("contentBytes"), read.shown.get("contentBase64")), (Some(&json!(5)), None));
        assert!(matches!(read.source, Source::File(File { format: Format::Csv { delimiter: b';', has_header: true }, .. })));
    }

    #[test]
    fn a_sign_in_goes_among_the_credentials() {
        let object = |value: Value| if let Value::Object(fields) = value { fields } else { panic!("not an object") };
        let taken = |config: Value, credentials: Value| {
            let (mut config, mut credentials) = (object(config), object(credentials));
            take_sign_in(&mut config, &mut credentials).map(|()| (Value::from(config), Value::from(credentials)))
        };
        let sign_in = json!({ "username": "ada", "password": "hunter2" });
        let mut config = sign_in.clone();
        config["host"] = json!("db");
        assert_eq!(taken(config, json!({})).unwrap(), (json!({ "host": "db" }), sign_in.clone()));
        let plain = json!({ "host": "db", "username": "ada" });
        assert_eq!(taken(plain.clone(), json!({ "password": "x" })).unwrap(), (plain, json!({ "password": "x" })));
        assert_eq!(taken(sign_in, json!({ "password": "x" })).unwrap_err().fields()[0].pointer, "/sourceConfig/password");
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_its_field() {
        for (source_type, config, code, pointer) in [
            (SourceType::Csv, json!({}), "FM-DCS-CONFIG", "/sourceConfig/content"),
            (SourceType::Csv, json!({ "path": "/etc/passwd" }), "FM-DCS-PATH", "/sourceConfig/path"),
            (SourceType::Csv, json!({ "content": "a", "delimiter": "ab" }), "FM-DCS-CONFIG", "/sourceConfig/delimiter"),
            (SourceType::Csv, json!({ "content": "a", "url": "http://127.0.0.1:9/" }), "FM-DCS-CONFIG", "/sourceConfig/url"),
            (SourceType::Jsonl, json!({ "contentBase64": "?" }), "FM-DCS-CONFIG", "/sourceConfig/contentBase64"),
            (SourceType::Parquet, json!({}), "FM-DCS-CONNECTOR-UNSUPPORTED", "/sourceType"),
            (SourceType::Postgresql, json!({ "api_key": "x" }), "FM-DCS-CONFIG", "/sourceConfig/api_key"),
            (SourceType::Postgresql, json!({ "database": "d", "query": "SELECT 1" }), "FM-DCS-CONFIG", "/sourceConfig/host"),
            (SourceType::Postgresql, json!({ "table": "t", "port": 0 }), "FM-DCS-CONFIG", "/sourceConfig/port"),
            (SourceType::Postgresql, json!({ "table": "t", "sslMode": "require" }), "FM-DCS-CONFIG", "/sourceConfig/sslMode"),
            (SourceType::Postgresql, json!({ "table": "t", "cdcMode": "binlog" }), "FM-DCS-CDC-MODE", "/sourceConfig/cdcMode"),
            (SourceType::Postgresql, json!({ "table": "t", "cdcMode": "logical" }), "FM-DCS-CONFIG", "/sourceConfig/cdcMode"),
            (SourceType::Postgresql, json!({ "query": "SELECT 1", "cdcMode": "logical" }), "FM-DCS-CONFIG", "/sourceConfig/query"),
            (SourceType::Csv, json!({ "content": "a", "cdcMode": "logical" }), "FM-DCS-CDC-MODE", "/sourceConfig/cdcMode"),
        ] {
            assert_eq!(faults(&source_type, config), (code.to_owned(), pointer.to_owned()));
        }
    }
}
