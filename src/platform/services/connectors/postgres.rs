//! PostgreSQL as a source: one read-only transaction, whose rows come as JSON, a few at a time.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Transaction};

use super::fetch::{not_allowed, unavailable};
use super::files::MAX_ROWS;
use super::query::MAX_ROW;
use super::rows::{Batch, Reason, Row};
use super::source::Postgres;
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::outbound;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the database may take for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);
/// How many rows are asked for at once: each may be as large as a row can be.
const FETCH: i32 = 50;

/// Refuses a host that may not be connected to. A name that the operator allows is looked up only when it is needed.
pub(super) async fn admit(platform: &Platform, source: &Postgres) -> Result<()> {
    if platform.webhooks().hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(&source.host)) {
        return Ok(());
    }
    outbound::addresses(platform, &source.host, source.port).await.map(drop).map_err(|detail| not_allowed("/sourceConfig/host", &detail))
}

/// The columns of the query, which prove that the source can be read.
pub(super) async fn columns(platform: &Platform, source: &Postgres, credentials: &Map<String, Value>) -> Result<Vec<String>> {
    let mut session = Session::open(platform, source, credentials).await?;
    let transaction = within(session.client.build_transaction().read_only(true).start()).await?;
    let statement = within(transaction.prepare(&source.query.columns())).await?;
    Ok(statement.columns().iter().map(|column| column.name().to_owned()).collect())
}

/// Reads all rows, and hands them over; ends early where nobody takes them.
pub(super) async fn read(
    platform: Platform,
    source: Postgres,
    credentials: Map<String, Value>,
    watermark: Option<String>,
    batches: mpsc::Sender<Result<Batch>>,
) {
    if let Err(error) = stream(&platform, &source, &credentials, watermark.as_deref(), &batches).await {
        let _ = batches.send(Err(error)).await;
    }
}

async fn stream(
    platform: &Platform,
    source: &Postgres,
    credentials: &Map<String, Value>,
    watermark: Option<&str>,
    batches: &mpsc::Sender<Result<Batch>>,
) -> Result<()> {
    let mut session = Session::open(platform, source, credentials).await?;
    // One view of the data: what is changed meanwhile is above the watermark, and read by the next run.
    let transaction = session.client.build_transaction().isolation_level(tokio_postgres::IsolationLevel::RepeatableRead).read_only(true);
    let transaction = within(transaction.start()).await?;
    let high = match source.query.highest(watermark) {
        Some(highest) => within(transaction.query_one(&highest, &[])).await?.try_get::<_, Option<String>>(0).map_err(fault)?,
        None => None,
    };
    let mut batch = Batch { high, ..Batch::default() };
    let rows = source.query.rows(watermark);
    if hand_over(&transaction, &rows, &[], MAX_ROWS, batches, &mut batch).await? && batch.position > 0 {
        let _ = batches.send(Ok(batch)).await;
    }
    Ok(())
}

/// Hands the rows of a statement over, those aside that fill no batch yet; answers whether they are still wanted. A row is
/// its JSON and its size, and in a third column its key as JSON: a row that is gone has nothing else.
pub(super) async fn hand_over(
    transaction: &Transaction<'_>,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
    most: u64,
    batches: &mpsc::Sender<Result<Batch>>,
    batch: &mut Batch,
) -> Result<bool> {
    let statement = within(transaction.prepare(sql)).await?;
    let portal = within(transaction.bind(&statement, parameters)).await?;
    loop {
        let rows = within(transaction.query_portal(&portal, FETCH)).await?;
        if rows.is_empty() {
            return Ok(true);
        }
        for row in rows {
            batch.position += 1;
            if batch.position > most {
                return Err(Error::new(Kind::TooLarge, "FM-DCS-TOO-MANY-ROWS", format!("the source has more than {most} rows"))
                    .hint("Let the query read a part of them."));
            }
            batch.rows.push(row_of(&row, batch.position).map_err(fault)?);
        }
        if batch.is_full() {
            let next = Batch { position: batch.position, high: batch.high.clone(), ..Batch::default() };
            if batches.send(Ok(std::mem::replace(batch, next))).await.is_err() {
                return Ok(false);
            }
        }
    }
}

fn row_of(row: &tokio_postgres::Row, place: u64) -> Result<Row, tokio_postgres::Error> {
    let key: Option<&str> = if row.len() > 2 { row.try_get(2)? } else { None };
    let size: Option<i32> = row.try_get(1)?;
    let read = match (row.try_get::<_, Option<&str>>(0)?, key) {
        (Some(text), _) => Row::of_json(place, text.as_bytes()),
        (None, Some(key)) if size.is_none() => return Ok(Row::gone(place, key.as_bytes())),
        (None, _) => {
            let reason = format!("has {} bytes as JSON; at most {MAX_ROW} are read", size.unwrap_or_default());
            Row::new(place, b"", Err(Reason::new("size", reason)))
        }
    };
    Ok(match key {
        Some(key) => read.with_key(key.as_bytes()),
        None => read,
    })
}

/// A connection that ends when it is dropped.
pub(super) struct Session {
    pub(super) client: Client,
    driver: tokio::task::JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Session {
    /// Connects to an address that was checked just now, and makes texts and times be written the same everywhere.
    pub(super) async fn open(platform: &Platform, source: &Postgres, credentials: &Map<String, Value>) -> Result<Self> {
        let text = |name: &str| credentials.get(name).and_then(Value::as_str);
        let Some(user) = text("username").or(source.username.as_deref()) else {
            return Err(Error::new(Kind::Invalid, "FM-DCS-CREDENTIALS", "the sign-in of the database names no user").field(
                "/credentials/username",
                "required",
                "names the user of the database",
            ));
        };
        let mut config = Config::new();
        config.user(user).dbname(&source.database).application_name("flowmaster");
        if let Some(password) = text("password") {
            config.password(password);
        }
        let addresses =
            outbound::addresses(platform, &source.host, source.port).await.map_err(|detail| not_allowed("/sourceConfig/host", &detail))?;
        let connecting = async {
            let stream = TcpStream::connect(&addresses[..]).await.map_err(|error| unavailable(&error.to_string()))?;
            config.connect_raw(stream, NoTls).await.map_err(fault)
        };
        let (client, connection) =
            tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| unavailable("the database did not answer in time"))??;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to a database ended");
            }
        });
        let session = Self { client, driver };
        let settings = format!(
            "SET standard_conforming_strings = on; SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET statement_timeout = {}",
            ANSWER_TIMEOUT.as_millis()
        );
        within(session.client.batch_execute(&settings)).await?;
        Ok(session)
    }
}

/// Waits for an answer as long as the database may take.
pub(super) async fn within<T>(work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T> {
    within_or(fault, work).await
}

/// Waits for an answer as long as the database may take; says what its errors mean.
pub(super) async fn within_or<T>(
    meaning: fn(tokio_postgres::Error) -> Error,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T> {
    match tokio::time::timeout(ANSWER_TIMEOUT, work).await {
        Ok(answer) => answer.map_err(meaning),
        Err(_) => Err(unavailable("the database did not answer in time")),
    }
}

/// What a database's error means: whether the source may be there later, or the job is wrong.
#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
pub(super) fn fault(error: tokio_postgres::Error) -> Error {
    let Some(said) = error.as_db_error() else {
        return match error.to_string() {
            text if text.contains("password missing") || text.contains("authentication") => Error::new(
                Kind::Invalid,
                "FM-DCS-CREDENTIALS",
                "the database asks for a password that the job does not have",
            )
            .field("/credentials/password", "required", "is the password of the database's user"),
            _ => unavailable(&outbound::innermost(&error).chars().filter(|c| !c.is_control()).take(300).collect::<String>()),
        };
    };
    let message: String = said.message().chars().filter(|c| !c.is_control()).take(300).collect();
    match said.code() {
        code if *code == SqlState::INVALID_PASSWORD || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            Error::new(Kind::Invalid, "FM-DCS-CREDENTIALS", format!("the database refuses the sign-in: {message}"))
                .hint("Check username and password in `credentials`.")
        }
        // Connection, transaction rollback, resources, operator: they pass.
        code if ["08", "40", "53", "57"].contains(&code.code().get(..2).unwrap_or_default()) => unavailable(&message),
        code => Error::new(Kind::Invalid, "FM-DCS-SOURCE", format!("the database refuses the query ({}): {message}", code.code()))
            .hint("Try the query on the database itself; ingest_sources_test tries a configuration."),
    }
}
