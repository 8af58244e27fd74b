//! What a version says, bounded in size: its template, variables, tags, blocks and samples.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::template;
use crate::api::FieldError;
use crate::api::prompts::Variable;
use crate::error::{Error, Kind, Result};

/// Largest content of a version, in bytes of JSON.
pub(super) const MAX_CONTENT: usize = 512 * 1024;
const MAX_VARIABLES: usize = 100;
const MAX_BLOCKS: usize = 50;
const MAX_SAMPLES: usize = 20;
const MAX_TAGS: usize = 20;
/// Longest tag, in characters.
const MAX_TAG: usize = 50;

/// The content of a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Content {
    pub(super) template: String,
    pub(super) variables: Vec<Variable>,
    pub(super) tags: Vec<String>,
    pub(super) blocks: Map<String, Value>,
    pub(super) samples: Vec<Map<String, Value>>,
}

impl Content {
    /// The blocks with their texts; [`Content::admit`] lets nothing else in.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (&str, &str)> {
        self.blocks.iter().filter_map(|(name, text)| Some((name.as_str(), text.as_str()?)))
    }

    /// Writes the content as it is stored; refuses what is too large or is not text where text must be.
    pub(super) fn admit(&self) -> Result<String> {
        let mut faults = Vec::new();
        for (pointer, length, most) in [
            ("/variables", self.variables.len(), MAX_VARIABLES),
            ("/blocks", self.blocks.len(), MAX_BLOCKS),
            ("/samples", self.samples.len(), MAX_SAMPLES),
            ("/tags", self.tags.len(), MAX_TAGS),
        ] {
            if length > most {
                faults.push(FieldError::new(pointer, "length", format!("has {length} items; at most {most} are allowed")));
            }
        }
        for (place, tag) in self.tags.iter().enumerate().take(MAX_TAGS) {
            if tag.trim().is_empty() || tag.chars().count() > MAX_TAG {
                faults.push(FieldError::new(format!("/tags/{place}"), "length", format!("must have 1 to {MAX_TAG} characters")));
            }
        }
        if let Some((name, _)) = self.blocks.iter().find(|(_, text)| !text.is_string()) {
            faults.push(FieldError::new(format!("/blocks/{}", template::segment(name)), "type", "must be text"));
        }
        if !faults.is_empty() {
            return Err(Error::new(Kind::Invalid, "FM-PES-INVALID", "the prompt is not as the service takes it").with_fields(faults));
        }
        let text = serde_json::to_string(self).map_err(Error::internal)?;
        if text.len() > MAX_CONTENT {
            return Err(Error::new(Kind::TooLarge, "FM-PES-TOO-LARGE", format!("a prompt has at most {} KiB", MAX_CONTENT / 1024))
                .hint("Shorten the template, its blocks or its samples, or split the prompt."));
        }
        Ok(text)
    }
}
