//! A question until its answer: the model is asked, runs tools, and is asked again with what they gave.

use serde_json::{Map, Value, json};

use super::local_rules;
use super::profile::Tool;
use super::providers::talk::{Cause, Failure, Frame, Given, Inquiry, Message, Offer, Sink, Wanted};
use super::providers::{Pool, Served};
use super::tools;
use crate::api::agents::{Provider, Usage};
use crate::error::Error;
use crate::platform::clock::Clock;
use crate::platform::http::context::Cx;

/// How often a model may ask for tools.
const MAX_ROUNDS: usize = 8;
/// Most tools that run for one answer.
const MAX_RUNS: usize = 16;
/// Most of a tool's answer that a model reads, in bytes.
const MAX_RESULT: usize = 32 * 1024;

/// A question, ready to be asked.
pub(super) struct Question {
    pub(super) system: String,
    pub(super) prompt: String,
    pub(super) context: Map<String, Value>,
    pub(super) temperature: Option<f64>,
    pub(super) max_tokens: Option<u32>,
    /// The agent's tools.
    pub(super) tools: Vec<Tool>,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcome {
    pub(super) text: String,
    pub(super) usage: Usage,
    pub(super) executed: Vec<String>,
    /// Who answered last.
    pub(super) provider: Option<Provider>,
}

/// Who asks, and who listens.
pub(super) struct Listening<'l> {
    pub(super) pool: &'l Pool,
    pub(super) clock: &'l dyn Clock,
    /// The caller whose rights tools have; without one there are no tools.
    pub(super) cx: Option<&'l Cx>,
    pub(super) sink: Option<&'l Sink>,
}

impl Question {
    /// The question as one text. The context is data, and is told as such.
    fn text(&self) -> String {
        if self.context.is_empty() {
            return self.prompt.clone();
        }
        format!("{}\n\nContext (JSON, data only):\n{}", self.prompt, Value::Object(self.context.clone()))
    }

    /// Asks until there is an answer. What was spent before a failure is in `outcome`.
    pub(super) async fn ask(&self, served: &Served<'_>, listening: &Listening<'_>, outcome: &mut Outcome) -> Result<(), Failure> {
        if served.is_local() {
            return self.answer_by_rules(listening, outcome).await;
        }
        let offers = |tool: &Tool| Offer { name: tool.name.clone(), about: tool.about(), parameters: tool.parameters() };
        let offered = if listening.cx.is_some() { self.tools.as_slice() } else { &[] };
        let mut inquiry = Inquiry {
            model: served.model.clone(),
            system: self.system.clone(),
            messages: vec![Message::User(self.text())],
            tools: offered.iter().filter(|tool| tool.is_for_models()).map(offers).collect(),
            temperature: self.temperature,
            max_tokens: self.max_tokens,
        };
        for _ in 0..MAX_ROUNDS {
            let asked = listening.pool.ask(served, &inquiry, listening.clock, listening.sink).await;
            let (reply, provider) = asked.inspect_err(|failure| add(&mut outcome.usage, &failure.spent))?;
            add(&mut outcome.usage, &reply.usage);
            outcome.provider = Some(provider);
            outcome.text.push_str(&reply.text);
            if reply.wanted.is_empty() {
                return Ok(());
            }
            let mut given = Vec::new();
            for wanted in &reply.wanted {
                given.push(self.run_wanted(wanted, listening, outcome).await?);
            }
            // What was said before a tool is not the answer.
            if listening.sink.is_none() {
                outcome.text.clear();
            }
            inquiry.messages.extend([Message::Model(reply), Message::Results(given)]);
        }
        Err(Failure::new(Cause::Refused, format!("the model asked for tools {MAX_ROUNDS} times without an answer")))
    }

    async fn run_wanted(&self, wanted: &Wanted, listening: &Listening<'_>, outcome: &mut Outcome) -> Result<Given, Failure> {
        let tool = self.tools.iter().find(|tool| tool.name == wanted.name && tool.is_for_models());
        let refused = |what: &str| Given { id: wanted.id.clone(), text: json!({ "error": what }).to_string(), is_error: true };
        let (Some(tool), Some(cx)) = (tool, listening.cx) else { return Ok(refused("there is no such tool")) };
        let Some(arguments) = wanted.arguments.clone() else { return Ok(refused("the arguments are not a JSON object")) };
        if outcome.executed.len() >= MAX_RUNS {
            return Ok(refused("no more tools can be run for this answer"));
        }
        let (text, is_error) = run(cx, tool, arguments, listening.sink, outcome).await?;
        Ok(Given { id: wanted.id.clone(), text, is_error })
    }

    async fn answer_by_rules(&self, listening: &Listening<'_>, outcome: &mut Outcome) -> Result<(), Failure> {
        outcome.provider = Some(Provider::LocalRules);
        let mut ran = Vec::new();
        if let Some(cx) = listening.cx {
            for (tool, arguments) in local_rules::tools_named(&self.prompt, &self.context, &self.tools).into_iter().take(MAX_RUNS) {
                let (text, _) = run(cx, tool, arguments, listening.sink, outcome).await?;
                ran.push((tool.name.clone(), text));
            }
        }
        outcome.text = local_rules::answer(&self.context, &ran);
        outcome.usage = Usage { input_tokens: local_rules::count(&self.text()), output_tokens: local_rules::count(&outcome.text) };
        if let Some(sink) = listening.sink {
            for piece in outcome.text.split_inclusive(' ') {
                sink.tell(Frame::Token(piece.to_owned())).await?;
            }
        }
        Ok(())
    }
}

/// Runs a tool as the caller; what it gives is JSON, and so is why it failed.
async fn run(
    cx: &Cx,
    tool: &Tool,
    arguments: Map<String, Value>,
    sink: Option<&Sink>,
    outcome: &mut Outcome,
) -> Result<(String, bool), Failure> {
    outcome.executed.push(tool.name.clone());
    let ran = tools::run(cx, tool, arguments).await;
    if let Some(sink) = sink {
        sink.tell(Frame::Tool(tool.name.clone(), ran.is_ok())).await?;
    }
    let is_error = ran.is_err();
    let text = ran.unwrap_or_else(|error| told(&error)).to_string();
    if text.len() <= MAX_RESULT {
        return Ok((text, is_error));
    }
    let cut = text.floor_char_boundary(MAX_RESULT);
    Ok((json!({ "truncated": text.get(..cut).unwrap_or_default() }).to_string(), is_error))
}

fn told(error: &Error) -> Value {
    json!({ "error": { "code": error.code(), "message": error.message(), "errors": error.fields() } })
}

fn add(sum: &mut Usage, more: &Usage) {
    sum.input_tokens = sum.input_tokens.saturating_add(more.input_tokens);
    sum.output_tokens = sum.output_tokens.saturating_add(more.output_tokens);
}
