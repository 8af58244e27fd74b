//! How long hosts wait for what they ask, by method, tool and how it ended.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use metrics::{Histogram, Label};

use super::{DURATION, Metrics, OperationMetrics};
use crate::api::Entry;

/// What a host asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `initialize`.
    Initialize,
    /// `tools/list`.
    ToolsList,
    /// `tools/call`.
    ToolsCall,
    /// `resources/list`.
    ResourcesList,
    /// `resources/templates/list`.
    TemplatesList,
    /// `resources/read`.
    ResourcesRead,
    /// `prompts/list`.
    PromptsList,
    /// `prompts/get`.
    PromptsGet,
    /// `completion/complete`.
    Complete,
}

impl Method {
    /// Every method, in the order of their declaration.
    pub const ALL: [Self; 9] = [
        Self::Initialize,
        Self::ToolsList,
        Self::ToolsCall,
        Self::ResourcesList,
        Self::TemplatesList,
        Self::ResourcesRead,
        Self::PromptsList,
        Self::PromptsGet,
        Self::Complete,
    ];

    /// Its name in the protocol.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::ToolsList => "tools/list",
            Self::ToolsCall => "tools/call",
            Self::ResourcesList => "resources/list",
            Self::TemplatesList => "resources/templates/list",
            Self::ResourcesRead => "resources/read",
            Self::PromptsList => "prompts/list",
            Self::PromptsGet => "prompts/get",
            Self::Complete => "completion/complete",
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With its answer.
    Well,
    /// With a tool's error.
    ToolError,
    /// With the error of JSON-RPC for parameters that make no sense, such as a tool that does not exist.
    InvalidParams,
    /// With another error, or without an answer.
    Otherwise,
}

impl Ended {
    /// The `error.type` of the conventions.
    const fn error_type(self) -> Option<&'static str> {
        match self {
            Self::Well => None,
            Self::ToolError => Some("tool_error"),
            Self::InvalidParams => Some("-32602"),
            Self::Otherwise => Some("_OTHER"),
        }
    }
}

/// The durations of a method or a tool, one distribution for each end.
pub(super) struct Durations {
    labels: Vec<Label>,
    by_end: [OnceLock<Histogram>; 4],
}

impl Durations {
    pub(super) fn new(labels: Vec<Label>) -> Self {
        Self { labels, by_end: Default::default() }
    }

    fn record(&self, metrics: &Metrics, ended: Ended, seconds: f64) {
        let register = || {
            let error_type = ended.error_type().map(|kind| super::label("error_type", kind));
            metrics.histogram(DURATION, self.labels.iter().cloned().chain(error_type).collect())
        };
        self.by_end[ended as usize].get_or_init(register).record(seconds);
    }
}

/// A request that is measured. Dropped before it is said how it ended, it ended otherwise.
#[must_use]
pub struct Measured {
    metrics: Metrics,
    method: Method,
    began: Option<Instant>,
    tool: Option<Arc<OperationMetrics>>,
    ended: Ended,
}

impl Measured {
    pub(super) fn begin(metrics: &Metrics, method: Method) -> Self {
        let began = metrics.are_kept().then(Instant::now);
        Self { metrics: metrics.clone(), method, began, tool: None, ended: Ended::Otherwise }
    }

    /// Says which tool is called.
    pub fn tool(&mut self, entry: &Entry) {
        if self.began.is_some() {
            self.tool = Some(self.metrics.of(entry));
        }
    }

    /// Says how it ended.
    pub fn end(mut self, ended: Ended) {
        self.ended = ended;
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let (Some(began), Some(kept)) = (self.began, &self.metrics.0) else { return };
        let durations = match &self.tool {
            Some(tool) => &tool.durations,
            None => &kept.methods[self.method as usize],
        };
        durations.record(&self.metrics, self.ended, began.elapsed().as_secs_f64());
    }
}
