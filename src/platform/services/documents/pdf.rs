//! The text of a PDF, read on a thread of its own under bounds of time, size and pages; and its images, where it has no text.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use lopdf::content::{Content, Operation};
use lopdf::{DecompressError, Document, Encoding, LoadOptions, Object, ObjectId};
use tokio::sync::oneshot;

use super::reading::Reading;
use super::{ocr, pass};
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::Cx;
use crate::platform::turns::gate::Gate;

/// How long a PDF is read.
const MAX_TIME: Duration = Duration::from_secs(20);
/// Most pages of a PDF.
const MAX_PAGES: usize = 5_000;
/// Largest stream of a PDF once it is decompressed, in bytes.
const MAX_STREAM: usize = 32 * 1024 * 1024;
/// Stack of the thread: objects nest.
const STACK: usize = 32 * 1024 * 1024;
/// PDFs that are read at once in this process. A place belongs to the thread, not to the request that waits for it.
static READING: LazyLock<Gate> = LazyLock::new(|| Gate::new(2));

/// Reads a PDF: its text, or its images where it has none.
pub(super) async fn read(cx: &Cx, bytes: Arc<[u8]>) -> Result<(Reading, Vec<Vec<u8>>)> {
    let place = pass(&READING, cx).await?;
    let (answer, answered) = oneshot::channel();
    thread::Builder::new()
        .name("platform-pdf".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            let _place = place;
            let work = || parse(&bytes, Instant::now() + MAX_TIME);
            let parsed = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(broken("its structure contradicts itself")));
            let _ = answer.send(parsed);
        })
        .map_err(Error::internal)?;
    // The thread looks at its deadline between pages and operations; a page that never ends is given up here.
    match tokio::time::timeout(MAX_TIME + Duration::from_secs(5), answered).await {
        Ok(parsed) => parsed.map_err(Error::internal)?,
        Err(_) => Err(endless("takes too long to read")),
    }
}

fn parse(bytes: &[u8], deadline: Instant) -> Result<(Reading, Vec<Vec<u8>>)> {
    let options = LoadOptions::with_max_decompressed_size(MAX_STREAM);
    let document = Document::load_mem_with_options(bytes, options).map_err(|error| refused(&error))?;
    if document.was_encrypted() || document.trailer.get(b"Encrypt").is_ok() {
        return Err(encrypted());
    }
    let pages: Vec<ObjectId> = document.page_iter().take(MAX_PAGES + 1).collect();
    match pages.len() {
        0 => return Err(broken("it has no pages")),
        1..=MAX_PAGES => {}
        _ => return Err(endless("has more than 5,000 pages")),
    }
    let mut reading = Reading { pages: Some(pages.len()), title: title_of(&document), ..Reading::default() };
    for page in &pages {
        if Instant::now() > deadline {
            return Err(endless("takes too long to read"));
        }
        let mut text = PageText::default();
        match text.read(&document, *page, deadline) {
            Ok(()) => {}
            Err(lopdf::Error::Decompress(DecompressError::MemoryLimitExceeded { .. })) => {
                return Err(endless("unpacks to more than 32 MiB a page"));
            }
            // The other pages may be whole.
            Err(error) => tracing::debug!(%error, "a page of a PDF cannot be read"),
        }
        if text.late {
            return Err(endless("takes too long to read"));
        }
        if !(reading.push(text.text.trim()) && reading.push("\n\n")) {
            break;
        }
    }
    let images = if reading.text.trim().is_empty() { ocr::images_of(&document, &pages) } else { Vec::new() };
    Ok((reading, images))
}

fn title_of(document: &Document) -> Option<String> {
    let info = document.trailer.get(b"Info").and_then(Object::as_reference).ok()?;
    let title = document.get_dictionary(info).ok()?.get(b"Title").ok()?;
    let title: String = lopdf::decode_text_string(title).ok()?.chars().filter(|letter| !letter.is_control()).take(200).collect();
    (!title.trim().is_empty()).then_some(title)
}

fn refused(error: &lopdf::Error) -> Error {
    match error {
        lopdf::Error::InvalidPassword | lopdf::Error::Decryption(_) | lopdf::Error::UnsupportedSecurityHandler(_) => encrypted(),
        lopdf::Error::Decompress(DecompressError::MemoryLimitExceeded { .. }) => endless("unpacks to more than 32 MiB"),
        error => broken(&error.to_string()),
    }
}

fn encrypted() -> Error {
    Error::new(Kind::Invalid, "FM-DOC-PDF-ENCRYPTED", "the PDF is encrypted")
        .hint("Remove its password, for example by printing it to a new PDF, and send it again.")
        .field("/document", "encrypted", "is encrypted")
}

fn broken(why: &str) -> Error {
    Error::new(Kind::Invalid, "FM-DOC-PDF-BROKEN", format!("the PDF cannot be read: {why}"))
        .hint("Open it in a viewer and save it again, then send that file.")
        .field("/document", "format", "is not a whole PDF")
}

fn endless(why: &str) -> Error {
    Error::new(Kind::Invalid, "FM-DOC-PDF-ENDLESS", format!("the PDF {why}"))
        .hint("Send a file with fewer pages or simpler content.")
        .field("/document", "size", why.to_owned())
}

/// The text of one page, line by line: a move to another height begins a line.
#[derive(Default)]
struct PageText {
    text: String,
    height: Option<f32>,
    late: bool,
}

impl PageText {
    fn read(&mut self, document: &Document, page: ObjectId, deadline: Instant) -> lopdf::Result<()> {
        let mut encodings: BTreeMap<Vec<u8>, Encoding<'_>> = BTreeMap::new();
        for (name, font) in document.get_page_fonts(page)? {
            match font.get_font_encoding_with_limit(document, MAX_STREAM) {
                Ok(encoding) => drop(encodings.insert(name, encoding)),
                Err(error @ lopdf::Error::Decompress(DecompressError::MemoryLimitExceeded { .. })) => return Err(error),
                // The text of the page's other fonts can be read.
                Err(error) => tracing::debug!(%error, "a font of a PDF cannot be read"),
            }
        }
        let content = Content::decode(&document.get_page_content_with_limit(page, MAX_STREAM)?)?;
        let mut encoding = None;
        for (place, operation) in content.operations.iter().enumerate() {
            if place.is_multiple_of(1024) && Instant::now() > deadline {
                self.late = true;
                return Ok(());
            }
            let operands = &operation.operands;
            match operation.operator.as_str() {
                "Tf" => encoding = operands.first().and_then(|name| encodings.get(name.as_name().ok()?)),
                "Td" | "TD" if number(operation, 1) != Some(0.0) => self.line(),
                "Td" | "TD" => self.text.push(' '),
                "Tm" => self.move_to(number(operation, 5)),
                "T*" | "ET" => self.line(),
                "'" | "\"" => {
                    self.line();
                    self.show(operands.last(), encoding);
                }
                "Tj" | "TJ" => self.show(operands.first(), encoding),
                _ => {}
            }
        }
        Ok(())
    }

    fn move_to(&mut self, height: Option<f32>) {
        if height == self.height {
            self.text.push(' ');
        } else {
            self.line();
        }
        self.height = height;
    }

    fn line(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }

    fn show(&mut self, operand: Option<&Object>, encoding: Option<&Encoding<'_>>) {
        match operand {
            Some(Object::String(bytes, _)) => {
                if let Some(text) = encoding.and_then(|encoding| Document::decode_text(encoding, bytes).ok()) {
                    self.text.push_str(&text);
                }
            }
            Some(Object::Array(parts)) => {
                for part in parts {
                    match part {
                        Object::Array(_) => {}
                        // A wide gap within a line stands for a space.
                        part if part.as_float().is_ok_and(|gap| gap < -200.0) => self.text.push(' '),
                        part => self.show(Some(part), encoding),
                    }
                }
            }
            _ => {}
        }
    }
}

fn number(operation: &Operation, place: usize) -> Option<f32> {
    operation.operands.get(place)?.as_float().ok()
}
