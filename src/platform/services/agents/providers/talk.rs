//! What is asked of a model and what it answers, in no provider's form.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::api::agents::Usage;

/// What a model is asked.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Inquiry {
    /// The model.
    pub(in super::super) model: String,
    /// What it is told before everything.
    pub(in super::super) system: String,
    /// What was said so far.
    pub(in super::super) messages: Vec<Message>,
    /// The tools that it may ask for.
    pub(in super::super) tools: Vec<Offer>,
    /// Randomness from 0 to 2.
    pub(in super::super) temperature: Option<f64>,
    /// Maximum tokens of its answer.
    pub(in super::super) max_tokens: Option<u32>,
}

/// A turn of the conversation.
#[derive(Debug, Clone)]
pub(in super::super) enum Message {
    /// The question.
    User(String),
    /// What the model answered.
    Model(Reply),
    /// What its tools gave.
    Results(Vec<Given>),
}

/// A tool as a model sees it.
#[derive(Debug, Clone)]
pub(in super::super) struct Offer {
    /// Its name.
    pub(in super::super) name: String,
    /// What it is for.
    pub(in super::super) about: String,
    /// Its arguments as a JSON schema.
    pub(in super::super) parameters: Map<String, Value>,
}

/// A tool that a model asks for.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Wanted {
    /// The model's id of it.
    pub(in super::super) id: String,
    /// The tool.
    pub(in super::super) name: String,
    /// Its arguments; none where the model wrote something else than a JSON object.
    pub(in super::super) arguments: Option<Map<String, Value>>,
}

/// What a tool gave.
#[derive(Debug, Clone)]
pub(in super::super) struct Given {
    /// The model's id of it.
    pub(in super::super) id: String,
    /// JSON.
    pub(in super::super) text: String,
    /// Whether it failed.
    pub(in super::super) is_error: bool,
}

/// What a model answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in super::super) struct Reply {
    /// Its text.
    pub(in super::super) text: String,
    /// The tools that it asks for.
    pub(in super::super) wanted: Vec<Wanted>,
    /// What it cost.
    pub(in super::super) usage: Usage,
}

impl Reply {
    /// Fills in what a provider did not say of the cost: a token has about four bytes.
    pub(super) fn with_estimated_usage(mut self, inquiry: &Inquiry) -> Self {
        let said: usize = inquiry
            .messages
            .iter()
            .map(|message| match message {
                Message::User(text) => text.len(),
                Message::Model(reply) => reply.text.len(),
                Message::Results(given) => given.iter().map(|given| given.text.len()).sum(),
            })
            .sum();
        if self.usage.input_tokens == 0 {
            self.usage.input_tokens = tokens_of(said + inquiry.system.len());
        }
        if self.usage.output_tokens == 0 {
            let asked: usize = self.wanted.iter().map(|wanted| wanted.name.len() + 20).sum();
            self.usage.output_tokens = tokens_of(self.text.len() + asked);
        }
        self
    }
}

fn tokens_of(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(4)).unwrap_or(u64::MAX)
}

/// Why a model did not answer.
#[derive(Debug)]
pub(in super::super) struct Failure {
    /// Whose fault it is, and what to do.
    pub(in super::super) cause: Cause,
    /// What happened, without keys and addresses.
    pub(in super::super) detail: String,
    /// What it cost all the same.
    pub(in super::super) spent: Usage,
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Cause {
    /// This very question is not accepted; another provider would not either.
    Refused,
    /// The platform's key or model is not accepted.
    Misconfigured,
    /// Too many calls.
    Limited(Option<Duration>),
    /// It does not work, or answers what cannot be understood.
    Broken,
    /// It took too long.
    Late,
    /// All providers failed lately; when the first is tried again.
    Down(Duration),
    /// Too many calls run at once here.
    Busy,
    /// Nobody waits for the answer any more.
    Cancelled,
}

impl Failure {
    /// A failure that cost nothing.
    pub(in super::super) fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self { cause, detail: detail.into(), spent: Usage::default() }
    }

    /// The answer of a provider cannot be understood.
    pub(super) fn garbage(what: &str) -> Self {
        Self::new(Cause::Broken, format!("it answered something else than its API says: {what}"))
    }
}

/// What is told while an answer is being made.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Frame {
    /// A piece of text.
    Token(String),
    /// A tool ran, and whether it completed.
    Tool(String, bool),
}

/// Where frames go.
#[derive(Debug, Clone)]
pub(in super::super) struct Sink(pub(in super::super) mpsc::Sender<Frame>);

impl Sink {
    /// Tells a frame; fails when nobody reads any more.
    pub(in super::super) async fn tell(&self, frame: Frame) -> Result<(), Failure> {
        self.0.send(frame).await.map_err(|_| hung_up())
    }

    /// Works for as long as somebody reads.
    pub(super) async fn while_read<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.0.closed() => Err(hung_up()),
        }
    }
}

fn hung_up() -> Failure {
    Failure::new(Cause::Cancelled, "the caller hung up")
}
