//! What is checked of a version before it is published: wordings, names, blocks, and whether its samples can be assembled.

use std::collections::HashSet;

use serde_json::Map;

use super::assembly::{Assembler, MAX_ASSEMBLED};
use super::content::Content;
use super::findings::Findings;
use super::{template, values};
use crate::api::arguments::quote;

/// Checks a content.
pub(super) fn validate(content: &Content) -> Findings {
    let mut findings = Findings::default();
    check_declarations(content, &mut findings);
    let assembler = Assembler::read(content, &mut findings);
    if findings.errors.is_empty() {
        // Only what has no fault can be filled in; without values it is as short as it can be.
        if assembler.fill(&Map::new()).is_err() {
            too_large(&mut findings, "/template", "the template with its blocks");
        } else {
            check_samples(content, &assembler, &mut findings);
        }
        warn_of_unused(content, &assembler, &mut findings);
    }
    findings
}

fn too_large(findings: &mut Findings, pointer: &str, what: &str) {
    let message = format!("{what} makes a text of more than {} KiB", MAX_ASSEMBLED / 1024);
    findings.error("TOO_LARGE", pointer, None, None, message);
}

fn check_declarations(content: &Content, findings: &mut Findings) {
    let mut names: HashSet<&str> = HashSet::new();
    let variables = content.variables.iter().enumerate().map(|(place, variable)| (format!("/variables/{place}"), variable.name.as_str()));
    for (pointer, name) in variables.chain(content.blocks().map(|(name, _)| (format!("/blocks/{}", template::segment(name)), name))) {
        if !template::is_name(name) {
            findings.error("INVALID_NAME", &pointer, Some(name), None, format!("{} is not a name; {}", quote(name), template::NAMES));
        }
        if !names.insert(name) {
            findings.error("DUPLICATE_NAME", &pointer, Some(name), None, format!("{} names another variable or block too", quote(name)));
        }
    }
}

fn check_samples(content: &Content, assembler: &Assembler<'_>, findings: &mut Findings) {
    for (place, sample) in content.samples.iter().enumerate() {
        let (pointer, whose) = (format!("/samples/{place}"), format!("sample {}: ", place + 1));
        let faults = values::faults(&content.variables, sample);
        findings.values(&pointer, &whose, &faults);
        if faults.is_empty() && assembler.fill(sample).is_err() {
            too_large(findings, &pointer, &format!("sample {}", place + 1));
        }
    }
}

fn warn_of_unused(content: &Content, assembler: &Assembler<'_>, findings: &mut Findings) {
    let reached = assembler.reached();
    for variable in content.variables.iter().filter(|variable| !reached.contains(variable.name.as_str())) {
        findings.warning("UNUSED_VARIABLE", &variable.name, "the variable is declared, but nothing inserts it");
    }
    for (name, _) in content.blocks().filter(|(name, _)| !reached.contains(name)) {
        findings.warning("UNUSED_BLOCK", name, "the block is not inserted by the template");
    }
}
