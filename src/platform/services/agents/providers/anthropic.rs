//! The messages of Anthropic.

use serde_json::{Value, json};

use super::openai::arguments;
use super::talk::{Failure, Inquiry, Message, Reply, Wanted};

/// The path below a provider's address.
pub(super) const PATH: &str = "/messages";
/// The version of the API, which each request names.
pub(super) const VERSION: &str = "2023-06-01";
/// The API wants a limit.
const DEFAULT_MAX_TOKENS: u32 = 4_096;

/// The body of a request.
pub(super) fn body(inquiry: &Inquiry, streams: bool) -> Value {
    let messages: Vec<Value> = inquiry
        .messages
        .iter()
        .map(|message| match message {
            Message::User(text) => json!({ "role": "user", "content": text }),
            Message::Model(reply) => json!({ "role": "assistant", "content": spoken(reply) }),
            Message::Results(given) => {
                let result = |given: &super::talk::Given| {
                    json!({ "type": "tool_result", "tool_use_id": given.id, "content": given.text, "is_error": given.is_error })
                };
                json!({ "role": "user", "content": given.iter().map(result).collect::<Vec<_>>() })
            }
        })
        .collect();
    let most = inquiry.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS);
    let mut body = json!({ "model": inquiry.model, "system": inquiry.system, "messages": messages, "max_tokens": most });
    if let Some(temperature) = inquiry.temperature {
        // Here 1 is the most.
        body["temperature"] = json!(temperature.min(1.0));
    }
    if !inquiry.tools.is_empty() {
        let tool = |tool: &super::talk::Offer| json!({ "name": tool.name, "description": tool.about, "input_schema": tool.parameters });
        body["tools"] = inquiry.tools.iter().map(tool).collect();
    }
    if streams {
        body["stream"] = json!(true);
    }
    body
}

fn spoken(reply: &Reply) -> Vec<Value> {
    let mut blocks = Vec::new();
    if !reply.text.is_empty() {
        blocks.push(json!({ "type": "text", "text": reply.text }));
    }
    blocks.extend(reply.wanted.iter().map(
        |wanted| json!({ "type": "tool_use", "id": wanted.id, "name": wanted.name, "input": wanted.arguments.clone().unwrap_or_default() }),
    ));
    blocks
}

/// Reads a whole answer.
pub(super) fn read(answer: &Value) -> Result<Reply, Failure> {
    let blocks = answer.get("content").and_then(Value::as_array).ok_or_else(|| Failure::garbage("no content"))?;
    let mut reply = Reply::default();
    for block in blocks {
        match block.get("type").and_then(Value::as_str) {
            Some("text") => reply.text.push_str(block.get("text").and_then(Value::as_str).unwrap_or_default()),
            Some("tool_use") => reply.wanted.push(wanted(block).ok_or_else(|| Failure::garbage("a tool without a name"))?),
            Some(_) => {}
            None => return Err(Failure::garbage("content without a type")),
        }
    }
    count(&mut reply, answer.get("usage"));
    Ok(reply)
}

fn wanted(block: &Value) -> Option<Wanted> {
    let text = |name: &str| block.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(Wanted { id: text("id")?, name: text("name")?, arguments: block.get("input").and_then(Value::as_object).cloned() })
}

fn count(reply: &mut Reply, usage: Option<&Value>) {
    let tokens = |name: &str| usage.and_then(|usage| usage.get(name)).and_then(Value::as_u64);
    if let Some(input) = tokens("input_tokens") {
        reply.usage.input_tokens = input;
    }
    if let Some(output) = tokens("output_tokens") {
        reply.usage.output_tokens = output;
    }
}

/// An answer that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    reply: Reply,
    /// The arguments of the tool that is being written.
    arguments: String,
    is_done: bool,
}

/// Most tools that one answer may ask for.
const MAX_WANTED: usize = 32;

impl Pieces {
    /// Takes an event; answers the text that it adds.
    pub(super) fn take(&mut self, data: &str) -> Result<String, Failure> {
        let piece: Value = serde_json::from_str(data).map_err(|_| Failure::garbage("an event that is not JSON"))?;
        match piece.get("type").and_then(Value::as_str).unwrap_or_default() {
            "message_start" => count(&mut self.reply, piece.pointer("/message/usage")),
            "message_delta" => count(&mut self.reply, piece.get("usage")),
            "message_stop" => self.is_done = true,
            "error" => return Err(Failure::garbage("an error amid the answer")),
            "content_block_start" if piece.pointer("/content_block/type").is_some_and(|kind| kind == "tool_use") => {
                let block = piece.get("content_block").and_then(wanted).ok_or_else(|| Failure::garbage("a tool without a name"))?;
                if self.reply.wanted.len() >= MAX_WANTED {
                    return Err(Failure::garbage("too many tools at once"));
                }
                self.reply.wanted.push(block);
                self.arguments.clear();
            }
            "content_block_delta" => {
                let delta = piece.get("delta");
                let part = |name: &str| delta.and_then(|delta| delta.get(name)).and_then(Value::as_str).unwrap_or_default();
                self.arguments.push_str(part("partial_json"));
                let text = part("text").to_owned();
                self.reply.text.push_str(&text);
                return Ok(text);
            }
            "content_block_stop" if !self.arguments.is_empty() => {
                let written = arguments(&std::mem::take(&mut self.arguments));
                if let Some(last) = self.reply.wanted.last_mut() {
                    last.arguments = written;
                }
            }
            _ => {}
        }
        Ok(String::new())
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
    pub(super) fn finish(self) -> Result<Reply, Failure> {
        if self.is_done { Ok(self.reply) } else { Err(Failure::garbage("an answer without its end")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_pieces_is_the_answer_in_one() {
        let whole = json!({
            "content": [{ "type": "text", "text": "Look" }, { "type": "tool_use", "id": "t1", "name": "find", "input": { "limit": 3 } }],
            "usage": { "input_tokens": 7, "output_tokens": 5 },
        });
        let mut pieces = Pieces::default();
        for piece in [
            json!({ "type": "message_start", "message": { "usage": { "input_tokens": 7, "output_tokens": 1 } } }),
            json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
            json!({ "type": "ping" }),
            json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "Lo" } }),
            json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "ok" } }),
            json!({ "type": "content_block_stop", "index": 0 }),
            json!({ "type": "content_block_start", "index": 1, "content_block": { "type": "tool_use", "id": "t1", "name": "find", "input": {} } }),
            json!({ "type": "content_block_delta", "index": 1, "delta": { "type": "input_json_delta", "partial_json": "{\"limit\"" } }),
            json!({ "type": "content_block_delta", "index": 1, "delta": { "type": "input_json_delta", "partial_json": ": 3}" } }),
            json!({ "type": "content_block_stop", "index": 1 }),
            json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" }, "usage": { "output_tokens": 5 } }),
            json!({ "type": "message_stop" }),
        ] {
            pieces.take(&piece.to_string()).unwrap();
        }
        assert_eq!(pieces.finish().unwrap(), read(&whole).unwrap());
    }

    #[test]
    fn what_is_no_answer_is_not_read_as_one() {
        for answer in [json!({}), json!({ "content": "text" }), json!({ "content": [{ "type": "tool_use" }] }), json!(["content"])] {
            assert!(read(&answer).is_err(), "{answer}");
        }
        assert!(Pieces::default().finish().is_err(), "an answer without its end");
        assert!(Pieces::default().take(r#"{"type":"error","error":{"type":"overloaded_error"}}"#).is_err());
    }
}
