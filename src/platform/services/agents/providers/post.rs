//! One request to one provider, whole or in pieces, bounded in time and size.

use std::time::Duration;

use eventsource_stream::Eventsource as _;
use futures_util::StreamExt as _;
use reqwest::{Response, StatusCode, header};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::talk::{Cause, Failure, Frame, Inquiry, Reply, Sink};
use super::{anthropic, openai};
use crate::io::outbound::{self, Unread};
use crate::platform::outbound::innermost;
use crate::platform::services::agents::options::{Provider, ProviderKind};

/// Largest answer, in bytes.
const MAX_ANSWER: usize = 2 * 1024 * 1024;
/// Largest text of an answer, in bytes.
const MAX_TEXT: usize = 512 * 1024;
/// Largest body of a refusal that is read, in bytes.
const MAX_REFUSAL: usize = 16 * 1024;
/// Longest reason of a refusal that is told, in characters.
const MAX_REASON: usize = 300;
/// A stream may take so many times as long as an answer in one: it is alive as long as pieces come.
const STREAM_TIMES: u32 = 4;

/// Asks a provider. `has_spoken` says whether a piece of its answer was told already.
pub(super) async fn ask(
    client: &reqwest::Client,
    provider: &Provider,
    inquiry: &Inquiry,
    within: Duration,
    sink: Option<&Sink>,
    has_spoken: &mut bool,
) -> Result<Reply, Failure> {
    let until = Instant::now() + within;
    let sending = in_time(until, send(client, provider, inquiry, sink.is_some()));
    let response = match sink {
        Some(sink) => sink.while_read(sending).await?,
        None => sending.await?,
    };
    if !response.status().is_success() {
        return Err(in_time(until, async { Ok(refusal(response).await) }).await?);
    }
    let Some(sink) = sink else {
        return in_time(until, whole(provider, response)).await;
    };
    let mut pieces = Pieces::of(provider.kind);
    let last = Instant::now() + within.saturating_mul(STREAM_TIMES);
    let told = listen(&mut pieces, response, within, last, sink, has_spoken).await;
    let so_far = pieces.so_far();
    told.and_then(|()| pieces.finish()).map_err(|mut failure| {
        if *has_spoken {
            failure.spent = so_far.with_estimated_usage(inquiry).usage;
        }
        failure
    })
}

async fn in_time<T>(until: Instant, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout_at(until, work).await.unwrap_or_else(|_| Err(Failure::new(Cause::Late, "it did not answer in time")))
}

async fn send(client: &reqwest::Client, provider: &Provider, inquiry: &Inquiry, streams: bool) -> Result<Response, Failure> {
    let (path, body) = match provider.kind {
        ProviderKind::Anthropic => (anthropic::PATH, anthropic::body(inquiry, streams)),
        _ => (openai::PATH, openai::body(inquiry, streams)),
    };
    let mut request = client.post(format!("{}{path}", provider.url.trim_end_matches('/'))).json(&body);
    if provider.kind == ProviderKind::Anthropic {
        request = request.header("anthropic-version", anthropic::VERSION);
    }
    if let Some(key) = &provider.key {
        let key = key.read().await.map_err(|detail| Failure::new(Cause::Misconfigured, detail))?;
        let (name, value) = match provider.kind {
            ProviderKind::Anthropic => ("x-api-key", key.expose_secret().to_owned()),
            ProviderKind::AzureOpenAi => ("api-key", key.expose_secret().to_owned()),
            _ => ("authorization", format!("Bearer {}", key.expose_secret())),
        };
        let mut value = header::HeaderValue::from_str(&value)
            .map_err(|_| Failure::new(Cause::Misconfigured, "its key has characters that no header can hold"))?;
        value.set_sensitive(true);
        request = request.header(name, value);
    }
    request.send().await.map_err(|error| Failure::new(Cause::Broken, format!("it cannot be reached: {}", innermost(&error))))
}

/// What a status other than success says.
async fn refusal(response: Response) -> Failure {
    let status = response.status();
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::PAYMENT_REQUIRED => {
            Failure::new(Cause::Misconfigured, format!("it answered {status}"))
        }
        StatusCode::TOO_MANY_REQUESTS => {
            let after = response.headers().get(header::RETRY_AFTER).and_then(|after| after.to_str().ok()?.trim().parse().ok());
            Failure::new(Cause::Limited(after.map(Duration::from_secs)), "it answered that there were too many calls")
        }
        StatusCode::REQUEST_TIMEOUT => Failure::new(Cause::Late, format!("it answered {status}")),
        _ if status.is_client_error() => {
            let body = outbound::read_bounded(response, MAX_REFUSAL).await.unwrap_or_default();
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let reason = body.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
            let reason: String = reason.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
            Failure::new(Cause::Refused, if reason.is_empty() { format!("it answered {status}") } else { reason })
        }
        _ => Failure::new(Cause::Broken, format!("it answered {status}")),
    }
}

async fn whole(provider: &Provider, response: Response) -> Result<Reply, Failure> {
    let body = outbound::read_bounded(response, MAX_ANSWER).await.map_err(|unread| match unread {
        Unread::TooLarge => Failure::garbage("more than 2 MiB"),
        Unread::Broken(error) => Failure::new(Cause::Broken, format!("its answer broke off: {}", innermost(&error))),
    })?;
    let answer: Value = serde_json::from_slice(&body).map_err(|_| Failure::garbage("no JSON"))?;
    let reply = if provider.kind == ProviderKind::Anthropic { anthropic::read(&answer) } else { openai::read(&answer) }?;
    if reply.text.len() > MAX_TEXT { Err(Failure::garbage("more than 512 KiB of text")) } else { Ok(reply) }
}

/// Reads an answer in pieces and tells its text. Between two pieces there may be as much time as for a whole answer.
async fn listen(
    pieces: &mut Pieces,
    response: Response,
    between: Duration,
    last: Instant,
    sink: &Sink,
    has_spoken: &mut bool,
) -> Result<(), Failure> {
    let mut left = MAX_ANSWER;
    // The parser keeps a line until its end: what it is given is counted before.
    let counted = response.bytes_stream().map(move |chunk| {
        let chunk = chunk.map_err(|error| Failure::new(Cause::Broken, format!("its answer broke off: {}", innermost(&error))))?;
        left = left.checked_sub(chunk.len()).ok_or_else(|| Failure::garbage("more than 2 MiB"))?;
        Ok::<_, Failure>(chunk)
    });
    let mut events = std::pin::pin!(counted.eventsource());
    loop {
        let piece = in_time((Instant::now() + between).min(last), async { Ok(events.next().await) });
        let next = sink.while_read(piece).await?;
        let Some(event) = next else { return Ok(()) };
        let event = event.map_err(|error| match error {
            eventsource_stream::EventStreamError::Transport(failure) => failure,
            _ => Failure::garbage("no events"),
        })?;
        let text = pieces.take(&event.data)?;
        if !text.is_empty() {
            *has_spoken = true;
            in_time(last, sink.tell(Frame::Token(text))).await?;
        }
        if pieces.length() > MAX_TEXT {
            return Err(Failure::garbage("more than 512 KiB of text"));
        }
    }
}

/// An answer in pieces, in either form.
enum Pieces {
    OpenAi(openai::Pieces),
    Anthropic(anthropic::Pieces),
}

impl Pieces {
    fn of(kind: ProviderKind) -> Self {
        match kind {
            ProviderKind::Anthropic => Self::Anthropic(anthropic::Pieces::default()),
            _ => Self::OpenAi(openai::Pieces::default()),
        }
    }

    fn take(&mut self, data: &str) -> Result<String, Failure> {
        match self {
            Self::OpenAi(pieces) => pieces.take(data),
            Self::Anthropic(pieces) => pieces.take(data),
        }
    }

    fn length(&self) -> usize {
        match self {
            Self::OpenAi(pieces) => pieces.length(),
            Self::Anthropic(pieces) => pieces.length(),
        }
    }

    fn so_far(&self) -> Reply {
        match self {
            Self::OpenAi(pieces) => pieces.so_far(),
            Self::Anthropic(pieces) => pieces.so_far(),
        }
    }

    fn finish(self) -> Result<Reply, Failure> {
        match self {
            Self::OpenAi(pieces) => pieces.finish(),
            Self::Anthropic(pieces) => pieces.finish(),
        }
    }
}
