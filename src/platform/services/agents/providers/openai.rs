//! The chat completions of OpenAI, which Azure and many servers have too.

use serde_json::{Map, Value, json};

use super::talk::{Failure, Inquiry, Message, Reply, Wanted};
use crate::api::agents::Usage;

/// The path below a provider's address.
pub(super) const PATH: &str = "/chat/completions";

/// The body of a request.
pub(super) fn body(inquiry: &Inquiry, streams: bool) -> Value {
    let mut messages = vec![json!({ "role": "system", "content": inquiry.system })];
    for message in &inquiry.messages {
        match message {
            Message::User(text) => messages.push(json!({ "role": "user", "content": text })),
            Message::Model(reply) => messages.push(spoken(reply)),
            Message::Results(given) => {
                messages.extend(given.iter().map(|given| json!({ "role": "tool", "tool_call_id": given.id, "content": given.text })));
            }
        }
    }
    let mut body = json!({ "model": inquiry.model, "messages": messages });
    if let Some(temperature) = inquiry.temperature {
        body["temperature"] = json!(temperature);
    }
    if let Some(most) = inquiry.max_tokens {
        body["max_tokens"] = json!(most);
    }
    if !inquiry.tools.is_empty() {
        let tool = |tool: &super::talk::Offer| json!({ "type": "function", "function": { "name": tool.name, "description": tool.about, "parameters": tool.parameters } });
        body["tools"] = inquiry.tools.iter().map(tool).collect();
    }
    if streams {
        body["stream"] = json!(true);
        body["stream_options"] = json!({ "include_usage": true });
    }
    body
}

fn spoken(reply: &Reply) -> Value {
    let call = |wanted: &Wanted| {
        let arguments = Value::Object(wanted.arguments.clone().unwrap_or_default()).to_string();
        json!({ "id": wanted.id, "type": "function", "function": { "name": wanted.name, "arguments": arguments } })
    };
    let mut message = json!({ "role": "assistant", "content": reply.text });
    if !reply.wanted.is_empty() {
        message["tool_calls"] = reply.wanted.iter().map(call).collect();
    }
    message
}

/// Reads a whole answer.
pub(super) fn read(answer: &Value) -> Result<Reply, Failure> {
    let message = answer.pointer("/choices/0/message").and_then(Value::as_object).ok_or_else(|| Failure::garbage("no message"))?;
    let text = match message.get("content") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(_) => return Err(Failure::garbage("a message that is not text")),
    };
    let calls = message.get("tool_calls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let wanted = calls.iter().map(wanted).collect::<Option<_>>().ok_or_else(|| Failure::garbage("a tool without a name"))?;
    Ok(Reply { text, wanted, usage: usage(answer).unwrap_or_default() })
}

fn wanted(call: &Value) -> Option<Wanted> {
    let name = call.pointer("/function/name")?.as_str()?.to_owned();
    let arguments = arguments(call.pointer("/function/arguments").and_then(Value::as_str).unwrap_or_default());
    Some(Wanted { id: call.get("id").and_then(Value::as_str).unwrap_or_default().to_owned(), name, arguments })
}

/// The arguments that a model wrote as text.
pub(super) fn arguments(text: &str) -> Option<Map<String, Value>> {
    if text.trim().is_empty() { Some(Map::new()) } else { serde_json::from_str(text).ok() }
}

fn usage(answer: &Value) -> Option<Usage> {
    let usage = answer.get("usage")?.as_object()?;
    let tokens = |name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or_default();
    Some(Usage { input_tokens: tokens("prompt_tokens"), output_tokens: tokens("completion_tokens") })
}

/// An answer that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    reply: Reply,
    /// The arguments of each tool as text so far.
    arguments: Vec<String>,
    is_done: bool,
}

/// Most tools that one answer may ask for.
const MAX_WANTED: usize = 32;

impl Pieces {
    /// Takes an event; answers the text that it adds.
    pub(super) fn take(&mut self, data: &str) -> Result<String, Failure> {
        if data.trim() == "[DONE]" {
            self.is_done = true;
            return Ok(String::new());
        }
        let piece: Value = serde_json::from_str(data).map_err(|_| Failure::garbage("an event that is not JSON"))?;
        if piece.get("error").is_some_and(|error| !error.is_null()) {
            return Err(Failure::garbage("an error amid the answer"));
        }
        if let Some(usage) = usage(&piece) {
            self.reply.usage = usage;
        }
        let Some(delta) = piece.pointer("/choices/0/delta") else { return Ok(String::new()) };
        for call in delta.get("tool_calls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default() {
            self.take_call(call)?;
        }
        let text = delta.get("content").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.reply.text.push_str(&text);
        Ok(text)
    }

    fn take_call(&mut self, call: &Value) -> Result<(), Failure> {
        let place = call.get("index").and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok()).unwrap_or(0);
        if place >= MAX_WANTED {
            return Err(Failure::garbage("too many tools at once"));
        }
        while self.reply.wanted.len() <= place {
            self.reply.wanted.push(Wanted { id: String::new(), name: String::new(), arguments: None });
            self.arguments.push(String::new());
        }
        let (Some(wanted), Some(arguments)) = (self.reply.wanted.get_mut(place), self.arguments.get_mut(place)) else { return Ok(()) };
        if let Some(id) = call.get("id").and_then(Value::as_str) {
            id.clone_into(&mut wanted.id);
        }
        if let Some(name) = call.pointer("/function/name").and_then(Value::as_str) {
            wanted.name.push_str(name);
        }
        arguments.push_str(call.pointer("/function/arguments").and_then(Value::as_str).unwrap_or_default());
        Ok(())
    }

    /// The length of its text so far, in bytes.
    pub(super) fn length(&self) -> usize {
        self.reply.text.len()
    }

    /// What it cost as far as it is known, for an answer that breaks off.
    pub(super) fn so_far(&self) -> Reply {
        self.reply.clone()
    }

    /// The whole answer. One without its end was cut off.
    pub(super) fn finish(mut self) -> Result<Reply, Failure> {
        if !self.is_done {
            return Err(Failure::garbage("an answer without its end"));
        }
        for (wanted, text) in self.reply.wanted.iter_mut().zip(&self.arguments) {
            wanted.arguments = arguments(text);
        }
        if self.reply.wanted.iter().any(|wanted| wanted.name.is_empty()) {
            return Err(Failure::garbage("a tool without a name"));
        }
        Ok(self.reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_pieces_is_the_answer_in_one() {
        let whole = json!({
            "choices": [{ "message": { "content": "Look", "tool_calls": [
                { "id": "c1", "type": "function", "function": { "name": "find", "arguments": "{\"limit\":3}" } },
            ] } }],
            "usage": { "prompt_tokens": 7, "completion_tokens": 5 },
        });
        let mut pieces = Pieces::default();
        for piece in [
            json!({ "choices": [{ "delta": { "role": "assistant", "content": "Lo" } }] }),
            json!({ "choices": [{ "delta": { "content": "ok" } }] }),
            json!({ "choices": [{ "delta": { "tool_calls": [{ "index": 0, "id": "c1", "function": { "name": "find", "arguments": "{\"lim" } }] } }] }),
            json!({ "choices": [{ "delta": { "tool_calls": [{ "index": 0, "function": { "arguments": "it\":3}" } }] } }] }),
            json!({ "choices": [], "usage": { "prompt_tokens": 7, "completion_tokens": 5 } }),
        ] {
            pieces.take(&piece.to_string()).unwrap();
        }
        pieces.take("[DONE]").unwrap();
        assert_eq!(pieces.finish().unwrap(), read(&whole).unwrap());
    }

    #[test]
    fn what_is_no_answer_is_not_read_as_one() {
        for answer in [json!({}), json!({ "choices": [] }), json!({ "choices": [{ "message": { "content": 3 } }] }), json!([1])] {
            assert!(read(&answer).is_err(), "{answer}");
        }
        assert!(Pieces::default().finish().is_err(), "an answer without its end");
        assert!(Pieces::default().take("{").is_err());
        let far = json!({ "choices": [{ "delta": { "tool_calls": [{ "index": 1_000_000_000_u64 }] } }] });
        assert!(Pieces::default().take(&far.to_string()).is_err());
    }
}
