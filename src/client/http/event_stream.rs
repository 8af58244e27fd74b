//! An answer that arrives while it is written: server-sent events `token`, `tool`, `usage`, `done` and `error`.
//!
//! The tokens go on as they come, and the end has the whole answer, so callers of the stack meet one answer as ever. Bytes are
//! counted before the parser, which keeps a line until its end.

use std::time::Duration;

use bytes::Bytes;
use eventsource_stream::{EventStreamError, Eventsource as _};
use futures_util::StreamExt as _;
use http::HeaderMap;
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::conceal::Secrets;
use super::problem;
use crate::error::{self, Error, Kind, Result};
use crate::io::numbers::quote_inexact;
use crate::io::outbound;

/// The media type of such an answer.
pub(super) const MEDIA_TYPE: &str = "text/event-stream";

/// Whether an answer is a stream of events.
pub(super) fn is_one(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(MEDIA_TYPE)
}

/// Reads the stream to its end.
pub(super) struct Reading<'a> {
    pub(super) tokens: mpsc::Sender<String>,
    pub(super) secrets: &'a Secrets,
    /// Most bytes of all events.
    pub(super) largest: usize,
    /// Longest time between two parts.
    pub(super) idle: Duration,
}

/// What was told so far.
#[derive(Default)]
struct Told {
    text: String,
    /// What may be the beginning of a secret, and is told once it is known to be none.
    held_back: String,
    usage: Option<Value>,
}

impl Reading<'_> {
    /// Returns the whole answer.
    ///
    /// # Errors
    /// What the platform's event `error` says, silence, or an end without `done`.
    pub(super) async fn read(self, response: Response, broken: impl Fn(Option<reqwest::Error>) -> Error) -> Result<Value> {
        let mut left = self.largest;
        // Comments are signs of life, too, though the parser tells nothing of them.
        let counted = outbound::lively(response, self.idle).map(move |chunk| {
            let chunk = chunk.map_err(&broken)?;
            left = left.checked_sub(chunk.len()).ok_or_else(too_large)?;
            Ok::<_, Error>(chunk)
        });
        let mut events = std::pin::pin!(counted.eventsource());
        let mut told = Told::default();
        while let Some(event) = events.next().await {
            let event = event.map_err(|error| match error {
                EventStreamError::Transport(error) => error,
                _ => answer("the platform's stream is not one of server-sent events"),
            })?;
            if let Some(whole) = self.take(&event.event, &event.data, &mut told).await? {
                return Ok(whole);
            }
        }
        Err(answer("the platform's answer broke off before its end"))
    }

    /// Takes one event; the last one gives the answer.
    async fn take(&self, name: &str, data: &str, told: &mut Told) -> Result<Option<Value>> {
        let data = self.secrets.conceal(Bytes::copy_from_slice(data.as_bytes()));
        let data: Value = serde_json::from_slice(&quote_inexact(&data)).unwrap_or_else(|_| String::from_utf8_lossy(&data).into());
        match name {
            "token" => {
                told.held_back.push_str(data.get("text").unwrap_or(&data).as_str().unwrap_or_default());
                // A secret may come in several pieces.
                let mut piece = self.secrets.conceal_text(&told.held_back).into_owned();
                told.held_back = piece.split_off(piece.len() - self.secrets.begun_at_end_of(&piece));
                self.tell(piece, told).await;
                Ok(None)
            }
            "usage" => {
                told.usage = Some(data);
                Ok(None)
            }
            "done" => {
                let rest = std::mem::take(&mut told.held_back);
                self.tell(rest, told).await;
                Ok(Some(whole(data, std::mem::take(told))))
            }
            "error" => {
                let status = data.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok()).unwrap_or(502);
                let conceal = |text: &str| self.secrets.conceal_text(text).into_owned();
                Err(problem::decode(status, &HeaderMap::new(), data.to_string().as_bytes(), conceal))
            }
            _ => Ok(None),
        }
    }

    async fn tell(&self, piece: String, told: &mut Told) {
        told.text.push_str(&piece);
        if !piece.is_empty() {
            // A caller that does not listen any more still gets the whole.
            let _heard = self.tokens.send(piece).await;
        }
    }
}

/// The answer of the last event; where that says nothing, the text is what the tokens were.
fn whole(done: Value, told: Told) -> Value {
    let mut answer = match done {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    answer.entry("response").or_insert_with(|| told.text.into());
    if let Some(usage) = told.usage {
        answer.entry("usage").or_insert(usage);
    }
    json!(answer)
}

fn answer(message: &str) -> Error {
    Error::new(Kind::BadAnswer, "FM-MCP-ANSWER", message).of_origin(error::Origin::Platform)
}

fn too_large() -> Error {
    Error::new(Kind::BadAnswer, "FM-MCP-ANSWER-TOO-LARGE", "the platform's stream is larger than an answer may be")
        .of_origin(error::Origin::Platform)
        .hint("Ask for a shorter answer: maxTokens bounds it.")
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;

    use super::*;

    #[tokio::test]
    async fn a_secret_that_comes_in_pieces_is_told_in_none_and_stands_in_no_answer() {
        let secrets = Secrets::of_headers(&HeaderMap::from_iter([(AUTHORIZATION, "Bearer eyJ0.token-of-anna".parse().unwrap())]));
        let (tokens, mut pieces) = mpsc::channel(16);
        let reading = Reading { tokens, secrets: &secrets, largest: 1 << 20, idle: Duration::from_secs(1) };
        let mut told = Told::default();
        for piece in ["It is eyJ", "0.token", "-of-anna, or eyJ", "ack", " ey"] {
            assert_eq!(reading.take("token", &json!({ "text": piece }).to_string(), &mut told).await.unwrap(), None);
        }
        let done = reading.take("done", r#"{"model":"eyJ0.token-of-anna","cost":1}"#, &mut told).await.unwrap().unwrap();
        assert_eq!(done, json!({ "model": "[withheld]", "cost": 1, "response": "It is [withheld], or eyJack ey" }));
        drop(reading);
        let mut heard = Vec::new();
        while let Some(piece) = pieces.recv().await {
            heard.push(piece);
        }
        assert_eq!(heard, ["It is ", "[withheld], or ", "eyJack", " ", "ey"]);
    }
}
