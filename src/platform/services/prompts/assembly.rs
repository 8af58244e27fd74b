//! Putting a prompt together: its names resolved once, then filled in as often as needed, bounded in size.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::content::Content;
use super::findings::Findings;
use super::template::{self, Piece};
use super::values;
use crate::api::arguments::quote;
use crate::api::near::nearest;

/// Largest text that an assembly makes, in bytes.
pub(super) const MAX_ASSEMBLED: usize = 512 * 1024;

/// A content whose wordings are read and whose blocks are in the order in which they can be filled in.
pub(super) struct Assembler<'c> {
    content: &'c Content,
    template: Vec<Piece<'c>>,
    blocks: HashMap<&'c str, Vec<Piece<'c>>>,
    /// The blocks that the template inserts, each after those that it inserts itself.
    order: Vec<&'c str>,
}

/// The assembled text would be larger than [`MAX_ASSEMBLED`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

impl<'c> Assembler<'c> {
    /// Reads a content and reports its faults. One with faults must not be filled in: a block may insert itself.
    pub(super) fn read(content: &'c Content, findings: &mut Findings) -> Self {
        let mut wording = |pointer: &str, text: &'c str| {
            let (pieces, faults) = template::read(text);
            for fault in faults {
                findings.error(fault.code, pointer, None, Some(fault.line), fault.message);
            }
            pieces
        };
        let template = wording("/template", &content.template);
        let blocks = content.blocks().map(|(name, text)| (name, wording(&format!("/blocks/{}", template::segment(name)), text))).collect();
        let mut assembler = Self { content, template, blocks, order: Vec::new() };
        assembler.check_names(findings);
        assembler.arrange(findings);
        assembler
    }

    /// Fills in values that [`values::faults`] has nothing against.
    ///
    /// Each block is filled in once, whatever inserts it, so the work is bounded by the wordings and [`MAX_ASSEMBLED`].
    pub(super) fn fill(&self, given: &Map<String, Value>) -> Result<String, TooLarge> {
        let mut texts: HashMap<&str, String> = HashMap::new();
        for name in &self.order {
            let pieces = self.blocks.get(name).map(Vec::as_slice).unwrap_or_default();
            let text = join(pieces, &texts, given)?;
            texts.insert(*name, text);
        }
        join(&self.template, &texts, given)
    }

    /// The names that the template reaches, directly and by its blocks.
    pub(super) fn reached(&self) -> HashSet<&'c str> {
        let inserted = self.order.iter().filter_map(|name| self.blocks.get(name)).flat_map(|pieces| names(pieces));
        names(&self.template).chain(inserted).map(|(name, _)| name).collect()
    }

    fn check_names(&self, findings: &mut Findings) {
        let variables: Vec<&str> = self.content.variables.iter().map(|variable| variable.name.as_str()).collect();
        let known: Vec<&str> = variables.iter().copied().chain(self.blocks.keys().copied()).collect();
        let declared: HashSet<&str> = known.iter().copied().collect();
        let places = std::iter::once(("/template".to_owned(), &self.template)).chain(
            self.content.blocks().filter_map(|(name, _)| Some((format!("/blocks/{}", template::segment(name)), self.blocks.get(name)?))),
        );
        for (pointer, pieces) in places {
            let mut told = HashSet::new();
            for (name, line) in names(pieces).filter(|(name, _)| !declared.contains(name)) {
                if told.insert(name) {
                    let meant = nearest(name, &known).map(|near| format!(", or write `{{{{{near}}}}}`")).unwrap_or_default();
                    let message = format!("`{{{{{name}}}}}` is neither a declared variable nor a block; declare it in `variables`{meant}");
                    findings.error("UNDECLARED_VARIABLE", &pointer, Some(name), Some(line), message);
                }
            }
        }
    }

    /// Orders the blocks; a block that would insert itself is a fault.
    fn arrange(&mut self, findings: &mut Findings) {
        let mut visit = Visit { blocks: &self.blocks, done: HashSet::new(), path: Vec::new(), order: Vec::new(), findings };
        for (name, _) in names(&self.template) {
            visit.enter(name);
        }
        let order = visit.order.clone();
        for (name, _) in self.content.blocks() {
            visit.enter(name);
        }
        self.order = order;
    }
}

/// A walk through the blocks, inserted ones first. Its depth is bounded by the number of blocks.
struct Visit<'a, 'c> {
    blocks: &'a HashMap<&'c str, Vec<Piece<'c>>>,
    done: HashSet<&'c str>,
    path: Vec<&'c str>,
    order: Vec<&'c str>,
    findings: &'a mut Findings,
}

impl<'c> Visit<'_, 'c> {
    fn enter(&mut self, name: &'c str) {
        let Some(pieces) = self.blocks.get(name).filter(|_| !self.done.contains(name)) else { return };
        if let Some(start) = self.path.iter().position(|above| *above == name) {
            let circle: Vec<String> = self.path.iter().skip(start).chain([&name]).map(|name| quote(name)).collect();
            let message = format!("the block inserts itself: {}", circle.join(" inserts "));
            self.findings.error("RECURSIVE_BLOCK", &format!("/blocks/{}", template::segment(name)), Some(name), None, message);
            return;
        }
        self.path.push(name);
        for (inserted, _) in names(pieces) {
            self.enter(inserted);
        }
        self.path.pop();
        self.done.insert(name);
        self.order.push(name);
    }
}

fn names<'c>(pieces: &[Piece<'c>]) -> impl Iterator<Item = (&'c str, u32)> {
    pieces.iter().filter_map(|piece| match piece {
        Piece::Name(name, line) => Some((*name, *line)),
        Piece::Text(_) => None,
    })
}

fn join(pieces: &[Piece<'_>], blocks: &HashMap<&str, String>, given: &Map<String, Value>) -> Result<String, TooLarge> {
    // What a variable is inserted as is written once, however often it is inserted.
    let mut written = HashMap::new();
    let mut joined = String::new();
    for piece in pieces {
        let text = match piece {
            Piece::Text(text) => *text,
            Piece::Name(name, _) => match blocks.get(name) {
                Some(block) => block.as_str(),
                None => &**written.entry(*name).or_insert_with(|| values::text(given, name)),
            },
        };
        if joined.len() + text.len() > MAX_ASSEMBLED {
            return Err(TooLarge);
        }
        joined.push_str(text);
    }
    Ok(joined)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::prompts::Variable;

    fn content(template: &str, variables: &[&str], blocks: Value) -> Content {
        let variable = |name: &&str| Variable { name: (*name).to_owned(), kind: None, required: None };
        let Value::Object(blocks) = blocks else { panic!("blocks are an object") };
        Content {
            template: template.to_owned(),
            variables: variables.iter().map(variable).collect(),
            tags: Vec::new(),
            blocks,
            samples: Vec::new(),
        }
    }

    fn codes(content: &Content) -> Vec<String> {
        let mut findings = Findings::default();
        Assembler::read(content, &mut findings);
        findings.errors.into_iter().map(|error| error.finding.code).collect()
    }

    #[test]
    fn blocks_within_blocks_are_filled_in_and_values_are_never_read_again() {
        let content = content(
            "{{intro}}|{{who}}|{{outro}}",
            &["who"],
            json!({ "intro": "Hi {{who}}. {{tone}}", "outro": "{{tone}}", "tone": "Kindly" }),
        );
        let mut findings = Findings::default();
        let assembler = Assembler::read(&content, &mut findings);
        assert!(findings.errors.is_empty());
        let text = assembler.fill(json!({ "who": "{{tone}} {{who}}" }).as_object().unwrap()).unwrap();
        assert_eq!(text, "Hi {{tone}} {{who}}. Kindly|{{tone}} {{who}}|Kindly");
    }

    #[test]
    fn a_block_that_inserts_itself_is_found_even_where_nothing_inserts_it() {
        assert_eq!(codes(&content("x", &[], json!({ "a": "{{a}}" }))), ["RECURSIVE_BLOCK"]);
        assert_eq!(codes(&content("{{a}}", &[], json!({ "a": "{{b}}", "b": "{{c}}", "c": "{{a}}" }))), ["RECURSIVE_BLOCK"]);
        assert_eq!(codes(&content("{{a}}{{b}}", &[], json!({ "a": "{{b}}", "b": "b" }))), Vec::<String>::new());
    }

    #[test]
    fn blocks_that_multiply_end_at_the_largest_text() {
        let mut blocks = Map::new();
        blocks.insert("b0".to_owned(), json!("0123456789"));
        for level in 1..40 {
            blocks.insert(format!("b{level}"), json!(format!("{{{{b{}}}}}", level - 1).repeat(10)));
        }
        let content = content("{{b39}}", &[], Value::Object(blocks));
        let mut findings = Findings::default();
        assert_eq!(Assembler::read(&content, &mut findings).fill(&Map::new()), Err(TooLarge));
    }

    #[test]
    fn an_undeclared_name_is_told_once_for_each_wording() {
        let content = content("{{nmae}}\n{{nmae}}", &["name"], json!({ "a": "{{other}}" }));
        let mut findings = Findings::default();
        Assembler::read(&content, &mut findings);
        let told: Vec<_> = findings.errors.iter().map(|error| (error.pointer.as_str(), error.finding.line)).collect();
        assert_eq!(told, [("/template", Some(1)), ("/blocks/a", Some(1))]);
        assert!(findings.errors[0].finding.message.contains("or write `{{name}}`"), "{}", findings.errors[0].finding.message);
    }
}
