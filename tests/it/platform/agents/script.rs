//! A provider of language models of the test's own, which answers as it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::response::Response;
use flowmaster_mcp::platform::{Key, Options, Provider, ProviderKind};
use serde_json::{Value, json};

use crate::support::platform::TestPlatform;
use crate::support::standin::StandIn;

/// The key of every provider here.
pub const KEY: &str = "sk-very-secret";

/// One answer.
#[derive(Clone)]
pub enum Said {
    /// A status with a body.
    Status(u16, String),
    /// Too many calls, for so many seconds.
    Limited(u64),
    /// Events, each with an end of line between them.
    Events(String),
    /// Nothing, ever.
    Silence,
}

/// A provider and what it still answers; at the end the last answer again and again.
pub struct Model {
    pub standin: StandIn,
    kind: ProviderKind,
}

impl Model {
    pub async fn start(kind: ProviderKind, answers: impl IntoIterator<Item = Said>) -> Self {
        let answers = Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>()));
        let standin = StandIn::start(move |_| {
            let next = {
                let mut answers = answers.lock().unwrap();
                if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }
            };
            async move {
                let response = Response::builder();
                match next.unwrap() {
                    Said::Status(status, body) => response.status(status).body(Body::from(body)).unwrap(),
                    Said::Limited(seconds) => response.status(429).header("retry-after", seconds).body(Body::empty()).unwrap(),
                    Said::Events(events) => response.header("content-type", "text/event-stream").body(Body::from(events)).unwrap(),
                    Said::Silence => std::future::pending().await,
                }
            }
        })
        .await;
        Self { standin, kind }
    }

    /// The provider of the configuration.
    pub fn provider(&self, models: &[&str], weight: u32) -> Provider {
        Provider {
            name: self.standin.url.clone(),
            kind: self.kind,
            url: format!("{}/v1", self.standin.url),
            key: Some(Key::Value(KEY.into())),
            models: models.iter().map(|model| (*model).to_owned()).collect(),
            weight,
        }
    }

    /// The bodies that it was sent.
    pub fn asked(&self) -> Vec<Value> {
        self.standin.asked().iter().map(|asked| serde_json::from_str(&asked.body).unwrap()).collect()
    }
}

/// A platform with providers.
pub async fn platform(providers: Vec<Provider>, change: impl FnOnce(&mut Options)) -> TestPlatform {
    TestPlatform::start_with(|options| {
        options.agents.providers = providers;
        change(options);
    })
    .await
}

/// An answer in the form of OpenAI.
pub fn openai(text: &str) -> Said {
    let body = json!({
        "choices": [{ "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 100, "completion_tokens": 50 },
    });
    Said::Status(200, body.to_string())
}

/// An answer in the form of OpenAI that asks for a tool.
pub fn openai_tool(name: &str, arguments: &str) -> Said {
    let call = json!({ "id": "call-1", "type": "function", "function": { "name": name, "arguments": arguments } });
    let body = json!({
        "choices": [{ "message": { "role": "assistant", "content": null, "tool_calls": [call] }, "finish_reason": "tool_calls" }],
        "usage": { "prompt_tokens": 10, "completion_tokens": 5 },
    });
    Said::Status(200, body.to_string())
}

/// An answer in the form of Anthropic.
pub fn anthropic(content: &Value) -> Said {
    Said::Status(200, json!({ "type": "message", "content": content, "usage": { "input_tokens": 100, "output_tokens": 50 } }).to_string())
}

/// Events of data, and what ends them.
pub fn events(data: &[Value], last: &str) -> Said {
    let text = data.iter().fold(String::new(), |text, data| text + &format!("data: {data}\n\n"));
    Said::Events(format!("{text}{last}"))
}
