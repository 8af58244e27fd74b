//! Prompt Engineering Service: prompt templates, their versions and their assembly (contract, section 7).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::ids::PromptId;
use crate::api::open_enum::open_enum;
use crate::api::operation::operations;
use crate::api::page::{Page, PageRequest};
use crate::api::service::{Change, Id, Layer, Lister, Resource};
use crate::api::{Effect, Operation, Permission, Service, Spec, Timestamp};

/// Prompt Engineering Service.
pub const SERVICE: Service =
    Service::new("prompt-engineering", "prompts", "PES", "Prompt templates with variables: versions, validation, assembly, publication.")
        .layer(Layer::Intelligence)
        .operations(operations![Create, Get, Versions, Assemble, Validate, Publish, List])
        .finder("`prompts_list` shows the prompts there are and their ids; `audit_query` with resourceType prompt names them as well.")
        .ids(&[Id::of("promptId", "prompt").listed(Lister::new("prompts_list", &[], "promptId").named("name"))])
        .resources(&[
            Resource::new("prompts/{id}", "prompts_get", "prompt", "Prompt", "A prompt template with its variables, blocks and version.")
                .takes(&[("id", "prompt")])
                .changed_by(&[Change::new("prompt.*", &["promptId"])]),
            Resource::new(
                "prompts/{id}/versions",
                "prompts_versions",
                "prompt-versions",
                "Versions of a prompt",
                "The versions of a prompt template, newest first.",
            )
            .takes(&[("id", "prompt")])
            .changed_by(&[Change::new("prompt.*", &["promptId"])]),
        ])
        .shown(&["name", "template", "tags", "version", "status", "createdAt"])
        .topics(&["prompt.*"]);

open_enum! {
    /// The types of a prompt's variables.
    VariableKind {
        /// Text.
        Text = "string",
        /// A number.
        Number = "number",
        /// A whole number.
        Integer = "integer",
        /// true or false.
        Boolean = "boolean",
        /// An object, inserted as JSON.
        Object = "object",
        /// An array, inserted as JSON.
        Array = "array",
    }
}

open_enum! {
    /// The states of a prompt's version.
    PromptStatus {
        /// Not in use yet.
        Draft = "draft",
        /// In use, and never changed again.
        Published = "published",
    }
}

/// A variable that a template declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Variable {
    /// Name, as in `{{name}}`.
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// Type of its values; any if absent.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<VariableKind>,
    /// Whether an assembly needs it; true if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
}

/// A prompt template, as of one version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Prompt {
    /// The prompt.
    pub prompt_id: PromptId,
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The version, semantic.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// State of this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<PromptStatus>,
    /// Its wording with `{{name}}` for each variable.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub template: String,
    /// The variables that it declares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<Variable>,
    /// Its tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Its reusable text segments by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub blocks: Map<String, Value>,
    /// Sets of values that are assembled at each publication.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Map<String, Value>>,
    /// Creation time of this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// Publication time of this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published_at: Option<Timestamp>,
}

/// Saves an instruction to the AI as a new template (prompt), so that others reuse it.
///
/// Add a good wording to the library, put in a question that we always ask, keep a standard text with blanks for
/// language and topic, make placeholders for the LLM to answer, or store how to write an analysis for a customer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Create {
    /// Name of the prompt.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// Wording with `{{name}}` for each variable.
    #[schemars(length(min = 1, max = 100_000))]
    pub template: String,
    /// Variables of the template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variables: Option<Vec<Variable>>,
    /// Tags such as `analysis`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Reusable text segments by name, inserted at `{{name}}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocks: Option<Map<String, Value>>,
    /// Sets of values to assemble at each publication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<Vec<Map<String, Value>>>,
}

impl Operation for Create {
    type Output = Prompt;
    const SPEC: Spec = Spec::post("prompts_create", "/prompts", Effect::Write)
        .titled("Save a template or instruction for the AI")
        .requires(Permission::PROMPT_CREATE)
        .answers(201)
        .evicts(&["prompts"]);
}

/// Opens one AI prompt to read what the bot or model is told.
///
/// What exactly does the instruction behind the summary say, how does the text of the template for translation read,
/// and can you display the current one for analysis?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// The prompt.
    pub id: PromptId,
}

impl Operation for Get {
    type Output = Prompt;
    const SPEC: Spec = Spec::get("prompts_get", "/prompts/{id}", Effect::Read)
        .titled("Show the exact wording of one AI prompt")
        .requires(Permission::PROMPT_VIEW)
        .cached(30);
}

/// Lists the versions of an AI prompt: revisions and editions of the instruction, and when each was edited.
///
/// What was the wording before the change, which release did the bot use last time, and how do earlier ones compare?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Versions {
    /// The prompt.
    pub id: PromptId,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for Versions {
    type Output = Page<Prompt>;
    const SPEC: Spec = Spec::get("prompts_versions", "/prompts/{id}/versions", Effect::Read)
        .titled("Older versions of an AI prompt, its history")
        .requires(Permission::PROMPT_VIEW)
        .cached(30);
}

/// Fills in the blanks of an AI prompt and returns the final text, without asking the AI.
///
/// Combine the instruction with these values, insert the name and date into the template, render the ad, preview how
/// the finished letter or wording would look, put in a language or topic, or complete and replace what the LLM is to
/// get.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Assemble {
    /// The prompt.
    pub id: PromptId,
    /// Values of the variables by name.
    pub variables: Map<String, Value>,
    /// Version; the latest published one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A prompt with its variables filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Assembly {
    /// The prompt.
    pub prompt_id: PromptId,
    /// The version that was assembled.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The finished text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub assembled: String,
    /// The values that went in, by name.
    #[serde(default)]
    pub variables: Map<String, Value>,
}

impl Operation for Assemble {
    type Output = Assembly;
    const SPEC: Spec = Spec::post("prompts_assemble", "/prompts/{id}/assemble", Effect::Read)
        .titled("Build an AI prompt that is ready with values")
        .requires(Permission::PROMPT_VIEW)
        .repeatable();
}

/// Checks an AI prompt for errors in its syntax and placeholders.
///
/// Is a variable missing or not declared, did I forget any bracket or brace in the template, and is the instruction
/// valid and its wording written right?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Validate {
    /// The prompt.
    pub id: PromptId,
    /// Version; the latest if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Values to check against the declared variables, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variables: Option<Map<String, Value>>,
}

/// The findings of a validation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Validation {
    /// Whether there are no errors.
    pub valid: bool,
    /// The prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_id: Option<PromptId>,
    /// The version that was checked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Faults that keep it from being published, and those of the values.
    #[serde(default)]
    pub errors: Vec<Finding>,
    /// Doubtful points.
    #[serde(default)]
    pub warnings: Vec<Finding>,
}

/// One fault of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// A stable code, such as `UNDECLARED_VARIABLE`.
    #[serde(default)]
    pub code: String,
    /// The variable or block concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
    /// Line of the template, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The fault and its remedy.
    #[serde(default)]
    pub message: String,
}

impl Operation for Validate {
    type Output = Validation;
    const SPEC: Spec = Spec::post("prompts_validate", "/prompts/{id}/validate", Effect::Read)
        .titled("Check an AI prompt: will it work")
        .requires(Permission::PROMPT_VIEW)
        .repeatable();
}

/// Makes the draft of an AI prompt the official version that agents use. Answers which samples change.
///
/// Let the bot use the new wording from now on, put the improved or shorter instruction live, release the revised ad,
/// roll it out today, or activate it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Publish {
    /// The prompt.
    pub id: PromptId,
    /// New wording; the latest draft's if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100_000))]
    pub template: Option<String>,
    /// All variables; unchanged if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variables: Option<Vec<Variable>>,
    /// All text segments by name; unchanged if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocks: Option<Map<String, Value>>,
    /// All sets of sample values; unchanged if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<Vec<Map<String, Value>>>,
    /// Semantic version; the next minor one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A published version, and its difference from the one before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Publication {
    /// The published version.
    #[serde(flatten)]
    pub prompt: Prompt,
    /// Samples that come out differently than before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<SampleChange>,
}

/// A sample whose assembled text changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SampleChange {
    /// Place of the sample, from 1.
    #[serde(default)]
    pub sample: u32,
    /// Its text by the version before; of a long one, from shortly before the difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Its text by the published version, alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl Operation for Publish {
    type Output = Publication;
    const SPEC: Spec = Spec::post("prompts_publish", "/prompts/{id}/publish", Effect::Write)
        .titled("Switch the AI to a reworked instruction")
        .requires(Permission::PROMPT_PUBLISH)
        .evicts(&["prompts"]);
}

/// Lists the AI prompts in the library, saved by colleagues.
///
/// How many instructions do we have for the LLM, is there already a ready template, can I look for one by tag to use
/// with the bot or model, and which exist in draft?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct List {
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for List {
    type Output = Page<Prompt>;
    const SPEC: Spec = Spec::get("prompts_list", "/prompts", Effect::Read)
        .titled("Find any AI prompt or template in the library")
        .requires(Permission::PROMPT_VIEW)
        .extension();
}
